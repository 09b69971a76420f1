CREATE TABLE f (id INT, k STRING, d DOUBLE, ts STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/floats.csv', 'format' = 'csv');
SELECT ARRAY_CONTAINS(ARRAY[d], CAST('NaN' AS DOUBLE)) a, ARRAY_SORT(ARRAY[d, CAST(1 AS DOUBLE)]) b, ARRAY_MAX(ARRAY[d, 1e0]) c, ARRAY_DISTINCT(ARRAY[d,d, 0e0]) e FROM f;
