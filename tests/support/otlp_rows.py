"""What SQL must show of an OTLP message: the official protobuf classes in, rows of the contract's columns out.

This is the judge of the end-to-end tests, so it shares nothing with the program: it walks the messages.
"""

import base64
import json
import math

import pyarrow as pa

import otlp_samples

KINDS = {0: "UNSPECIFIED", 1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
STATUS = {0: "UNSET", 1: "OK", 2: "ERROR"}
TEMPORALITY = {0: "UNSPECIFIED", 1: "DELTA", 2: "CUMULATIVE"}


def value_of(any_value):
    """An AnyValue as a Python value; bytes as base64 text, as the contract prints them."""
    kind = any_value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "bytes_value":
        return base64.b64encode(any_value.bytes_value).decode()
    if kind == "array_value":
        return [value_of(item) for item in any_value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: value_of(pair.value) for pair in any_value.kvlist_value.values}
    return getattr(any_value, kind)


def attributes_of(pairs):
    return {pair.key: value_of(pair.value) for pair in pairs}


def same_value(text, want):
    """Whether the text that SQL shows for an attribute means `want`."""
    if want is None:
        return text is None
    if isinstance(want, str):
        return text == want
    if text is None:
        return False
    if isinstance(want, float) and not math.isfinite(want):
        return text.strip('"').lower() in ({"nan"} if math.isnan(want) else {str(want), "infinity" if want > 0 else "-infinity"})
    got = json.loads(text)
    return type(got) in ((int, float) if isinstance(want, float) else (type(want),)) and got == want


def attribute_differences(got, want, where):
    """`got` is what Arrow gives for a map: a list of pairs."""
    got = dict(got or [])
    if set(got) != set(want):
        return [f"{where}: keys {sorted(got)} instead of {sorted(want)}"]
    return [f"{where}[{key}]: {got[key]!r} instead of {want[key]!r}" for key in want if not same_value(got[key], want[key])]


def envelope(resource_part, scope_part):
    resource, scope = resource_part.resource, scope_part.scope
    attributes = attributes_of(resource.attributes)
    return {
        "service_name": attributes.get("service.name"),
        "@resource_attributes": attributes,
        "resource_dropped_attributes_count": resource.dropped_attributes_count,
        "resource_schema_url": resource_part.schema_url,
        "scope_name": scope.name,
        "scope_version": scope.version,
        "@scope_attributes": attributes_of(scope.attributes),
        "scope_dropped_attributes_count": scope.dropped_attributes_count,
        "scope_schema_url": scope_part.schema_url,
    }


def span_rows(request):
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield {
                    **envelope(resource_spans, scope_spans),
                    "trace_id": span.trace_id.hex(), "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex() or None,
                    "trace_state": span.trace_state, "flags": span.flags, "name": span.name, "kind": KINDS[span.kind],
                    "start_time": span.start_time_unix_nano, "end_time": span.end_time_unix_nano,
                    "duration_ns": span.end_time_unix_nano - span.start_time_unix_nano,
                    "status_code": STATUS[span.status.code], "status_message": span.status.message,
                    "@attributes": attributes_of(span.attributes), "dropped_attributes_count": span.dropped_attributes_count,
                    "events": [{"time": event.time_unix_nano, "name": event.name, "@attributes": attributes_of(event.attributes),
                                "dropped_attributes_count": event.dropped_attributes_count} for event in span.events],
                    "dropped_events_count": span.dropped_events_count,
                    "links": [{"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex(), "trace_state": link.trace_state,
                               "flags": link.flags, "@attributes": attributes_of(link.attributes),
                               "dropped_attributes_count": link.dropped_attributes_count} for link in span.links],
                    "dropped_links_count": span.dropped_links_count,
                }


def log_rows(request):
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield {
                    **envelope(resource_logs, scope_logs),
                    "time": record.time_unix_nano, "observed_time": record.observed_time_unix_nano,
                    "trace_id": record.trace_id.hex() or None, "span_id": record.span_id.hex() or None, "flags": record.flags,
                    "severity_number": record.severity_number, "severity_text": record.severity_text,
                    "event_name": record.event_name, "@body": value_of(record.body),
                    "@attributes": attributes_of(record.attributes), "dropped_attributes_count": record.dropped_attributes_count,
                }


def exemplar_rows(exemplars):
    return [{"time": e.time_unix_nano, "value": float(e.as_double if e.WhichOneof("value") == "as_double" else e.as_int),
             "trace_id": e.trace_id.hex() or None, "span_id": e.span_id.hex() or None,
             "@attributes": attributes_of(e.filtered_attributes)} for e in exemplars]


def optional(point, field):
    return getattr(point, field) if point.HasField(field) else None


def number_columns(point):
    kind = point.WhichOneof("value")
    return {"value": None if kind is None else float(getattr(point, kind)), "value_int": point.as_int if kind == "as_int" else None,
            "exemplars": exemplar_rows(point.exemplars)}


def gauge_columns(_, point):
    return number_columns(point)


def sum_columns(data, point):
    return {**number_columns(point), "aggregation_temporality": TEMPORALITY[data.aggregation_temporality],
            "is_monotonic": data.is_monotonic}


def histogram_columns(data, point):
    return {"count": point.count, "sum": optional(point, "sum"), "min": optional(point, "min"), "max": optional(point, "max"),
            "bucket_counts": list(point.bucket_counts), "explicit_bounds": list(point.explicit_bounds),
            "exemplars": exemplar_rows(point.exemplars), "aggregation_temporality": TEMPORALITY[data.aggregation_temporality]}


def exponential_columns(data, point):
    return {"count": point.count, "sum": optional(point, "sum"), "min": optional(point, "min"), "max": optional(point, "max"),
            "scale": point.scale, "zero_count": point.zero_count, "zero_threshold": point.zero_threshold,
            "positive_offset": point.positive.offset, "positive_bucket_counts": list(point.positive.bucket_counts),
            "negative_offset": point.negative.offset, "negative_bucket_counts": list(point.negative.bucket_counts),
            "exemplars": exemplar_rows(point.exemplars), "aggregation_temporality": TEMPORALITY[data.aggregation_temporality]}


def summary_columns(_, point):
    return {"count": point.count, "sum": point.sum,
            "quantile_values": [{"quantile": v.quantile, "value": v.value} for v in point.quantile_values]}


METRIC_TABLES = {
    "gauge": ("metrics_gauge", gauge_columns), "sum": ("metrics_sum", sum_columns),
    "histogram": ("metrics_histogram", histogram_columns),
    "exponential_histogram": ("metrics_exponential_histogram", exponential_columns), "summary": ("metrics_summary", summary_columns),
}


def metric_rows(request):
    """Pairs of table and row."""
    for resource_metrics in request.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                kind = metric.WhichOneof("data")
                table, columns = METRIC_TABLES[kind]
                data = getattr(metric, kind)
                for point in data.data_points:
                    yield table, {
                        **envelope(resource_metrics, scope_metrics),
                        "metric_name": metric.name, "description": metric.description, "unit": metric.unit,
                        "@metadata": attributes_of(metric.metadata), "time": point.time_unix_nano,
                        "start_time": point.start_time_unix_nano, "flags": point.flags, "@attributes": attributes_of(point.attributes),
                        **columns(data, point),
                    }


def plain(scalar):
    """An Arrow scalar as Python, with times as nanoseconds and ids as hex."""
    if not scalar.is_valid:
        return None
    if pa.types.is_timestamp(scalar.type):
        return scalar.cast(pa.timestamp("ns", scalar.type.tz)).value
    if pa.types.is_fixed_size_binary(scalar.type):
        return scalar.as_py().hex()
    if pa.types.is_struct(scalar.type):
        return {name: plain(scalar[name]) for name in scalar}
    if pa.types.is_map(scalar.type):
        return [(pair["key"].as_py(), plain(pair["value"])) for pair in scalar.values]
    if pa.types.is_list(scalar.type) or pa.types.is_large_list(scalar.type):
        return [plain(item) for item in scalar.values]
    if pa.types.is_dictionary(scalar.type):
        return plain(scalar.dictionary[scalar.index.as_py()])
    return scalar.as_py()


def plain_rows(table):
    return [{name: plain(table.column(name)[i]) for name in table.column_names} for i in range(table.num_rows)]


def differences(got, want, where):
    """What is wrong with a row, as text; nothing where it is right. Keys with '@' hold attributes or a body."""
    found = []
    for key, expected in want.items():
        name = key.lstrip("@")
        if name not in got:
            found.append(f"{where}: there is no column {name}")
        elif key == "@body":
            if not same_value(got[name], expected):
                found.append(f"{where}.body: {got[name]!r} instead of {expected!r}")
        elif key.startswith("@"):
            found += attribute_differences(got[name], expected, f"{where}.{name}")
        elif isinstance(expected, list) and expected and isinstance(expected[0], dict):
            if len(got[name] or []) != len(expected):
                found.append(f"{where}.{name}: {len(got[name] or [])} instead of {len(expected)}")
            else:
                for i, (g, w) in enumerate(zip(got[name], expected)):
                    found += differences(g, w, f"{where}.{name}[{i}]")
        elif (got[name] or None if expected in ("", [], None) else got[name]) != (expected if expected not in ("", []) else None):
            found.append(f"{where}.{name}: {got[name]!r} instead of {expected!r}")
    return found


def check_table(server, table, wanted, order):
    """The table holds the rows that are wanted, and no others."""
    got = plain_rows(server.sql(f"SELECT * FROM otel.{table} ORDER BY {order}"))
    assert len(got) == len(wanted), f"{table}: {len(got)} rows instead of {len(wanted)}"
    found = [line for i, want in enumerate(wanted) for line in differences(got[i], want, f"{table}[{i}]")]
    assert not found, "\n".join(found)


def check_full(server, times=1):
    """The server holds otlp_samples' full_traces(), full_logs() and full_metrics(), each as often as it was sent, and nothing else."""
    check_table(server, "traces", [row for row in span_rows(otlp_samples.full_traces()) for _ in range(times)], "start_time")
    check_table(server, "logs", [row for row in log_rows(otlp_samples.full_logs()) for _ in range(times)], "time")
    tables = {}
    for table, row in metric_rows(otlp_samples.full_metrics()):
        tables.setdefault(table, []).extend([row] * times)
    assert len(tables) == 5
    for table, rows in tables.items():
        value = "value" if table in ("metrics_gauge", "metrics_sum") else "count"
        check_table(server, table, sorted(rows, key=lambda row: (row["metric_name"], row[value])), f"metric_name, {value}")
