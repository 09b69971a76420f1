-- How late are the flights from New York to where people live?
--
-- For every zip code the nearest airport that is served from New York (great circle, R = 6371 km), then the county that
-- holds the zip code, then the means per county, with the fewest flights that any of its airports has: a mean over a few flights
-- says little.

CREATE EXTERNAL TABLE flights STORED AS PARQUET LOCATION 'hdfs://127.0.0.1:8020/flights/data/flights.parquet';
CREATE EXTERNAL TABLE airports STORED AS PARQUET LOCATION 'hdfs://127.0.0.1:8020/flights/data/airports.parquet';
CREATE EXTERNAL TABLE zipcodes STORED AS PARQUET LOCATION 'hdfs://127.0.0.1:8020/flights/data/zipcodes.parquet';
CREATE EXTERNAL TABLE counties STORED AS PARQUET LOCATION 'hdfs://127.0.0.1:8020/flights/data/counties.parquet';

-- Served: at least one flight landed there whose arrival delay is known.
CREATE TABLE served AS
SELECT a.code, a.name, a.lon, a.lat, d.flights, d.mean_delay
FROM (
    SELECT dest, COUNT(*) AS flights, AVG(CAST(arr_delay AS DOUBLE)) AS mean_delay
    FROM flights
    WHERE arr_delay IS NOT NULL
    GROUP BY dest
) d
JOIN airports a ON a.code = d.dest;

CREATE VIEW stops AS
SELECT code, flights, mean_delay, ST_Point(lon, lat) AS point FROM served;

CREATE VIEW homes AS
SELECT zip, ST_Point(CAST(lon AS DOUBLE), CAST(lat AS DOUBLE)) AS point FROM zipcodes;

CREATE VIEW nearest AS
SELECT homes.zip, homes.point, stops.flights, stops.mean_delay,
    ST_DistanceSphere(homes.point, stops.point, 6371000) / 1000 AS km
FROM homes
JOIN stops ON ST_KNN(homes.point, stops.point, 1, TRUE);

CREATE TABLE county_delays AS
SELECT c.fips, c.name, COUNT(*) AS zips, MIN(n.flights) AS flights, AVG(n.mean_delay) AS mean_delay, AVG(n.km) AS mean_km
FROM nearest n
JOIN counties c ON ST_Contains(ST_GeomFromWKB(c.wkb), n.point)
GROUP BY c.fips, c.name;

COPY (SELECT * FROM served ORDER BY code) TO 'hdfs://127.0.0.1:8020/flights/served.parquet' STORED AS PARQUET;

COPY (SELECT * FROM county_delays ORDER BY fips) TO 'hdfs://127.0.0.1:8020/flights/counties.parquet' STORED AS PARQUET;

SELECT (SELECT COUNT(*) FROM served) AS airports, COUNT(*) AS counties, SUM(zips) AS zips FROM county_delays;
