CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT id, CASE WHEN b <> 0 AND a / b > 2 THEN a / b WHEN b = 0 THEN -1 ELSE a / b END x FROM g;
