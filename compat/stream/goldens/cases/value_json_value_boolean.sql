CREATE TABLE j (id INT, v STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/jsons.csv', 'format' = 'csv', 'csv.field-delimiter' = '|', 'csv.disable-quote-character' = 'true');
SELECT id, JSON_VALUE(v, '$.v' RETURNING BOOLEAN) a FROM j WHERE id = 2;
