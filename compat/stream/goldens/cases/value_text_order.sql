CREATE TABLE u (id INT, a STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/uni.csv', 'format' = 'csv');
SELECT id, a < b AS lt, a > b AS gt, a = b AS eq, a <= b AS le, GREATEST(a, b) AS gr, LEAST(a,b) AS le2, a BETWEEN b AND b AS bt FROM u;
