CREATE TABLE f (id INT, k STRING, d DOUBLE, ts STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/floats.csv', 'format' = 'csv');
SELECT DISTINCT d FROM f;
