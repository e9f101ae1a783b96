-- error_rate(from, to): of each service and hour, how many of the spans that start in [from, to) failed.
-- `error_rate` is a share, from 0 to 1. An hour that the range cuts holds only what lies in the range.
CREATE MACRO error_rate(from_time, to_time) AS TABLE
SELECT service_name, time_bucket(INTERVAL 1 hour, start_time)::TIMESTAMP_NS AS hour, count(*) AS count,
       count(*) FILTER (status_code = 'ERROR') AS error_count, count(*) FILTER (status_code = 'ERROR') / count(*) AS error_rate
FROM otel.traces
WHERE check_argument(from_time::TIMESTAMP_NS <= to_time::TIMESTAMP_NS, 'error_rate: from must be a time at or before to')
  AND start_time >= from_time::TIMESTAMP_NS AND start_time < to_time::TIMESTAMP_NS
GROUP BY ALL
ORDER BY service_name, hour;
