CREATE TABLE orders_plain (order_id INT, user_id INT, amount DECIMAL(12, 2), currency STRING, qty INT, status STRING, order_time TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/orders.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COALESCE(currency, 'all') AS c, GROUPING(currency) AS g, ROUND(SUM(amount), 0) AS s FROM orders_plain GROUP BY ROLLUP (currency);
