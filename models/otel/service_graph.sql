-- service_graph(from, to): which service calls which, from spans and their parents. Both must start in [from, to),
-- so that either side's parts are pruned; a parent is of the same trace, since span ids alone may repeat. `error_count`
-- and `avg_ms` are those of the called spans. Spans of no service have an empty name.
CREATE MACRO service_graph(from_time, to_time) AS TABLE
SELECT parent.service_name AS parent_service, child.service_name AS child_service, count(*) AS call_count,
       count(*) FILTER (child.status_code = 'ERROR') AS error_count, avg(child.duration_ns) / 1e6 AS avg_ms
FROM otel.traces child JOIN otel.traces parent ON parent.trace_id = child.trace_id AND parent.span_id = child.parent_span_id
WHERE check_argument(from_time::TIMESTAMP_NS <= to_time::TIMESTAMP_NS, 'service_graph: from must be a time at or before to')
  AND child.start_time >= from_time::TIMESTAMP_NS AND child.start_time < to_time::TIMESTAMP_NS
  AND parent.start_time >= from_time::TIMESTAMP_NS AND parent.start_time < to_time::TIMESTAMP_NS
  AND parent.service_name <> child.service_name
GROUP BY ALL
ORDER BY call_count DESC, parent_service, child_service;
