-- How late do flights leave, hour by hour and airport by airport?
--
-- Flink SQL: the same file runs on Bonsai's `stream run` and on Apache Flink (with its Kafka and Parquet connectors).
-- A record is written when a flight has landed, but its event time is the departure, hours earlier: the rows are out of
-- order by up to ten hours. The watermark stays six hours behind the newest departure; what comes even later is dropped.

SET 'execution.checkpointing.interval' = '1 s';

CREATE TABLE flights (
    origin STRING,
    dest STRING,
    carrier STRING,
    flight INT,
    tailnum STRING,
    sched_dep TIMESTAMP(3),
    dep_delay INT,
    arr_delay INT,
    air_time INT,
    distance INT,
    -- The actual departure.
    departed AS TIMESTAMPADD(MINUTE, dep_delay, sched_dep),
    WATERMARK FOR departed AS departed - INTERVAL '6' HOUR
) WITH (
    'connector' = 'kafka',
    'topic' = 'flights',
    'properties.bootstrap.servers' = '127.0.0.1:9092',
    'properties.group.id' = 'flights-windows',
    'scan.startup.mode' = 'earliest-offset',
    'scan.bounded.mode' = 'latest-offset',
    -- Every row moves the watermark, so which rows are late does not depend on the clock.
    'scan.watermark.emit.strategy' = 'on-event',
    'format' = 'json'
);

CREATE TABLE departures_by_hour (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    origin STRING,
    flights BIGINT,
    mean_delay DOUBLE,
    max_delay INT
) WITH (
    'connector' = 'filesystem',
    'path' = 'hdfs://127.0.0.1:8020/flights/windows',
    'format' = 'parquet'
);

INSERT INTO departures_by_hour
SELECT window_start, window_end, origin, COUNT(*), AVG(CAST(dep_delay AS DOUBLE)), MAX(dep_delay)
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(departed), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, origin;
