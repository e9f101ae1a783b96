-- latency_series(from, to, bucket): percentiles of the durations of spans that start in [from, to), of each service and
-- bucket. `bucket` is an interval or text such as '5 minutes'; buckets begin where time_bucket() lets them begin, so the
-- first may begin before `from`. All percentiles come from one list: the durations are sorted once.
CREATE MACRO latency_series(from_time, to_time, bucket_width) AS TABLE
SELECT bucket, service_name, count, quantiles[1] / 1e6 AS p50_ms, quantiles[2] / 1e6 AS p95_ms, quantiles[3] / 1e6 AS p99_ms
FROM (
  SELECT time_bucket(bucket_width::INTERVAL, start_time)::TIMESTAMP_NS AS bucket, service_name, count(*) AS count,
         quantile_cont(duration_ns, [0.5, 0.95, 0.99]) AS quantiles
  FROM otel.traces
  WHERE check_argument(from_time::TIMESTAMP_NS <= to_time::TIMESTAMP_NS, 'latency_series: from must be a time at or before to')
    AND check_argument(bucket_width::INTERVAL > INTERVAL 0 seconds, 'latency_series: bucket must be longer than 0')
    AND start_time >= from_time::TIMESTAMP_NS AND start_time < to_time::TIMESTAMP_NS
  GROUP BY ALL)
ORDER BY bucket, service_name;
