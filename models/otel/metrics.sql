-- All data points of all metric types, one row each. `value` is the point's number: of a gauge or sum its
-- value, of the others their sum; `count` is the number of measurements behind it, NULL for gauges and sums.
CREATE VIEW otel.metrics AS
SELECT metric_name, 'gauge' AS metric_type, description, unit, time, start_time, flags, service_name, attributes,
       resource_attributes, scope_name, scope_version, value, value_int, NULL::UBIGINT AS count,
       NULL::VARCHAR AS aggregation_temporality, NULL::BOOLEAN AS is_monotonic
FROM otel.metrics_gauge
UNION ALL
SELECT metric_name, 'sum', description, unit, time, start_time, flags, service_name, attributes,
       resource_attributes, scope_name, scope_version, value, value_int, NULL,
       aggregation_temporality, is_monotonic
FROM otel.metrics_sum
UNION ALL
SELECT metric_name, 'histogram', description, unit, time, start_time, flags, service_name, attributes,
       resource_attributes, scope_name, scope_version, sum, NULL, count,
       aggregation_temporality, NULL
FROM otel.metrics_histogram
UNION ALL
SELECT metric_name, 'exponential_histogram', description, unit, time, start_time, flags, service_name, attributes,
       resource_attributes, scope_name, scope_version, sum, NULL, count,
       aggregation_temporality, NULL
FROM otel.metrics_exponential_histogram
UNION ALL
SELECT metric_name, 'summary', description, unit, time, start_time, flags, service_name, attributes,
       resource_attributes, scope_name, scope_version, sum, NULL, count,
       NULL, NULL
FROM otel.metrics_summary;
