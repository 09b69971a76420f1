CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT COUNT(*) FILTER (WHERE b <> 0 AND a / b > 2) c FROM g;
