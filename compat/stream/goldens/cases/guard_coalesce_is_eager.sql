-- expect: error
CREATE TABLE g (id INT, a INT, b INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/guard.csv', 'format' = 'csv');
SELECT COALESCE(CAST(b AS INT), a / b) c FROM g;
