-- How many flights leave each airport in a week, and how late? Reads the topic that `bonsai demo flights` fills, and prints.
--
-- Flink SQL: the same file runs on Bonsai's `stream run` and on Apache Flink. It writes nothing, so it may be run again.

CREATE TABLE flights (
    origin STRING,
    sched_dep TIMESTAMP(3),
    dep_delay INT,
    departed AS TIMESTAMPADD(MINUTE, dep_delay, sched_dep),
    WATERMARK FOR departed AS departed - INTERVAL '6' HOUR
) WITH (
    'connector' = 'kafka',
    'topic' = 'flights',
    'properties.bootstrap.servers' = '127.0.0.1:9092',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = 'latest-offset',
    'scan.watermark.emit.strategy' = 'on-event',
    'format' = 'json'
);

SELECT window_start, origin, COUNT(*) AS flights, AVG(CAST(dep_delay AS DOUBLE)) AS mean_delay
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(departed), INTERVAL '7' DAY))
GROUP BY window_start, window_end, origin;
