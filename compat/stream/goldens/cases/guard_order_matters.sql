-- expect: error
CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT id FROM g WHERE a / b > 2 AND b <> 0;
