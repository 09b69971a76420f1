CREATE TABLE j (id INT, v STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/jsons.csv', 'format' = 'csv', 'csv.field-delimiter' = '|', 'csv.disable-quote-character' = 'true');
SELECT id, v IS JSON a, v IS JSON OBJECT b, v IS JSON ARRAY c, v IS JSON SCALAR d, v IS NOT JSON e, v IS JSON VALUE f FROM j;
