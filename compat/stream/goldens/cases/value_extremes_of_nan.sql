CREATE TABLE f (id INT, k STRING, d DOUBLE, ts STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/floats.csv', 'format' = 'csv');
SELECT k, MIN(d) mi, MAX(d) ma, COUNT(DISTINCT d) cd, LAST_VALUE(d) lv FROM f WHERE k = 'a' GROUP BY k;
