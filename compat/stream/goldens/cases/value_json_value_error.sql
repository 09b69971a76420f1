-- expect: error
CREATE TABLE j (id INT, v STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/jsons.csv', 'format' = 'csv', 'csv.field-delimiter' = '|', 'csv.disable-quote-character' = 'true');
SELECT id, JSON_VALUE(v, '$.v' ERROR ON ERROR) a FROM j WHERE id = 5;
