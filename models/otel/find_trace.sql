-- find_trace(id): the spans of one trace, as in otel.traces, by start. `id` is hex text or a trace id.
CREATE MACRO find_trace(id) AS TABLE
SELECT * FROM otel.traces WHERE trace_id = id::TRACE_ID ORDER BY start_time, span_id;
