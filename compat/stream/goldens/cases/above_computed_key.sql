CREATE TABLE orders_plain (order_id INT, user_id INT, amount DECIMAL(12, 2), currency STRING, qty INT, status STRING, order_time TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/orders.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT MOD(user_id, 3) AS m, CONCAT('m', CAST(MOD(user_id, 3) AS STRING)) AS t, SUM(qty) AS q FROM orders_plain GROUP BY MOD(user_id, 3);
