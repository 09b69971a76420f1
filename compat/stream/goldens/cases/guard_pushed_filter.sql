CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT x FROM (SELECT id, a / b AS x, b FROM g) WHERE b <> 0 AND x > 2;
