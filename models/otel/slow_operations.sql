-- slow_operations(from, to, min_ms): operations with spans in [from, to) that took at least min_ms, the
-- slowest first. Times are timestamps or text such as '2026-11-21 10:00:00' (UTC).
CREATE MACRO slow_operations(from_time, to_time, min_ms) AS TABLE
SELECT service_name, name, count(*) AS count, avg(duration_ns) / 1e6 AS avg_ms,
       quantile_cont(duration_ns, 0.95) / 1e6 AS p95_ms, max(duration_ns) / 1e6 AS max_ms
FROM otel.traces
WHERE check_argument(from_time::TIMESTAMP_NS <= to_time::TIMESTAMP_NS, 'slow_operations: from must be a time at or before to')
  AND check_argument(min_ms >= 0, 'slow_operations: min_ms must be 0 or more')
  AND start_time >= from_time::TIMESTAMP_NS AND start_time < to_time::TIMESTAMP_NS AND duration_ns >= (min_ms * 1000000)::BIGINT
GROUP BY ALL
ORDER BY p95_ms DESC, service_name, name;
