CREATE TABLE u (id INT, a STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/uni.csv', 'format' = 'csv');
SELECT MIN(a) AS mi, MAX(a) AS ma, MIN(b) AS mib, MAX(b) AS mab FROM u;
