CREATE TABLE orders_plain (order_id INT, user_id INT, amount DECIMAL(12, 2), currency STRING, qty INT, status STRING, order_time TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/orders.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT UPPER(currency) AS c, CHAR_LENGTH(currency) AS l, COALESCE(status, 'none') AS s, COUNT(*) AS n FROM orders_plain GROUP BY currency, status;
