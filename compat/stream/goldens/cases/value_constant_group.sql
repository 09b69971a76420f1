CREATE TABLE j (id INT, v STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/jsons.csv', 'format' = 'csv', 'csv.field-delimiter' = '|', 'csv.disable-quote-character' = 'true');
SELECT 1 k, MIN(1) a, SUM(1) c, AVG(1) d, MAX('ab') m FROM j GROUP BY id;
