-- What the stream job left: how many windows, and how many flights in all of them.

CREATE EXTERNAL TABLE departures_by_hour STORED AS PARQUET LOCATION 'hdfs://127.0.0.1:8020/flights/windows/';

SELECT COUNT(*) AS windows, SUM(flights) AS flights FROM departures_by_hour;
