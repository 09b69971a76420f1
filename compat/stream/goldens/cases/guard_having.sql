CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT b, SUM(a) s FROM g GROUP BY b HAVING b <> 0 AND SUM(a) / b > 2;
