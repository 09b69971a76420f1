CREATE TABLE f (id INT, k STRING, d DOUBLE, ts STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/floats.csv', 'format' = 'csv');
SELECT id, CAST(d AS INT) i, CAST(d AS BIGINT) l, CAST(d AS STRING) s, CAST(d AS FLOAT) fl, CAST(d AS BOOLEAN) b, CAST(d AS TINYINT) t, CAST(d AS SMALLINT) sm FROM f;
