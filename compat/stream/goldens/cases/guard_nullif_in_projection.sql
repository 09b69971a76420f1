CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT id, b <> 0 AND a/b > 2 x, a/NULLIF(b,0) y FROM g;
