CREATE TABLE n38 (id INT, d DECIMAL(38, 3)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/dec38.csv', 'format' = 'csv');
SELECT d + d x, d * 10 y, d - -d z, d / 0.001 q, CAST(d AS DECIMAL(10,3)) c, ROUND(d, -36) r, d * d dd FROM n38;
