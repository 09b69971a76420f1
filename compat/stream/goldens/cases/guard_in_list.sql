CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT id FROM g WHERE b IN (1, 2, 3) AND a IN (a / b, 10);
