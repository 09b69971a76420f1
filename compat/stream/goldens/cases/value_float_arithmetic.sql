CREATE TABLE f (id INT, k STRING, d DOUBLE, ts STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/floats.csv', 'format' = 'csv');
SELECT id, d / 0 x, d * 0 y, POWER(d, 2) p, SQRT(d) q, LN(d) r FROM f;
