-- expect: error
CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT SUM(a / b) FILTER (WHERE b <> 0) s FROM g;
