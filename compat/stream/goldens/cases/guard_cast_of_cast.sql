CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT id FROM g WHERE b <> 0 AND CAST(CAST(a / b AS STRING) AS INT) > 2;
