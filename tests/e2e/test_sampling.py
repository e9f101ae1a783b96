"""Head sampling from the server's settings to what SQL estimates, over several services, with clients that sampled before."""

import hashlib

import otlp_samples

SHARES = {"checkout": 1.0, "payment": 0.5, "a, b": 0.25}
OTHERS = 0.1
RULES = 'checkout = 1, payment = 0.5, "a, b" = 0.25, * = 0.1'
SPANS = 4000


def trace_id(number):
    return hashlib.md5(str(number).encode()).digest()


def threshold(share):
    return 2**56 - round(share * 2**56)


def test_what_is_kept_and_noted_is_what_the_specification_says(make_server):
    server = make_server(environment={"SHEAF_SAMPLING_TRACES": RULES, "SHEAF_SAMPLING_PRECISION_DIGITS": "14"}).start()
    expected = {}
    for service in (*SHARES, "other"):
        share = SHARES.get(service, OTHERS)
        spans = []
        for number in range(SPANS):
            span = otlp_samples.span(trace_id(number), number.to_bytes(7, "big") + b"\x01")
            random = int.from_bytes(span.trace_id[-7:], "big")
            sampled_before = number % 4 == 0  # By a client, at 0.2.
            if sampled_before:
                if random < threshold(0.2):
                    continue
                span.trace_state = "ot=th:" + f"{threshold(0.2):014x}".rstrip("0")
            spans.append(span)
            noted = max(threshold(share), threshold(0.2) if sampled_before else 0)
            if random >= noted:
                expected.setdefault(service, []).append((span.span_id.hex(), noted))
        server.otlp_http("traces", otlp_samples.traces(spans, service=service))
    for service in (*SHARES, "other"):
        rows = server.rows("SELECT span_id::VARCHAR AS span_id, coalesce(sampling_threshold(trace_state), 0) AS noted FROM traces "
                           f"WHERE service_name = '{service}' ORDER BY span_id")
        assert [(row["span_id"], row["noted"]) for row in rows] == sorted(expected[service]), service
    # Traces that are kept at a smaller share are kept at a larger one.
    assert server.value("SELECT count(*) FROM traces o WHERE service_name = 'other' AND NOT EXISTS (SELECT 1 FROM traces p WHERE "
                        "p.service_name = 'payment' AND p.trace_id = o.trace_id)") == 0
    for row in server.rows("SELECT service_name, sum(sampling_adjusted_count(trace_state)) AS n FROM traces GROUP BY service_name"):
        assert abs(row["n"] - SPANS) < 6 * (SPANS * 9) ** 0.5, row
    kept = server.value("SELECT count(*) FROM traces")
    sent = server.metric('sheaf_ingest_rows_total{signal="traces"}') + server.metric('sheaf_ingest_sampled_out_rows_total{signal="traces"}')
    assert server.metric('sheaf_ingest_rows_total{signal="traces"}') == kept == sum(map(len, expected.values()))
    assert 3 * SPANS < sent <= 4 * SPANS


def test_traces_with_an_error_or_a_slow_span_are_kept_whole(make_server):
    server = make_server(environment={"SHEAF_SAMPLING_TRACES": "* = 0.25", "SHEAF_SAMPLING_KEEP_ERRORS": "on",
                                      "SHEAF_SAMPLING_KEEP_SLOW_MS": "2s", "SHEAF_SAMPLING_WINDOW_MS": "10m"}).start()
    traces = 400
    rounds = [[otlp_samples.span(trace_id(number), bytes([step + 1]) * 8, parent=bytes([1]) * 8 if step else b"")
               for number in range(traces)]
              for step in range(4)]
    for number in range(0, traces, 20):
        rounds[2][number].status.code = 2
    for number in range(7, traces, 20):
        rounds[1][number].end_time_unix_nano = rounds[1][number].start_time_unix_nano + 2_000_000_000
    for spans in rounds:
        server.otlp_http("traces", otlp_samples.traces(spans))
    by_head = {trace_id(n) for n in range(traces) if int.from_bytes(trace_id(n)[-7:], "big") >= threshold(0.25)}
    by_tail = {trace_id(n) for n in [*range(0, traces, 20), *range(7, traces, 20)]} - by_head
    assert by_head and by_tail
    rows = server.rows("SELECT trace_id, count(*) AS spans, count(*) FILTER (trace_state LIKE '%sheaf=tail%') AS marked, "
                       "sum(sampling_adjusted_count(trace_state)) AS count FROM traces GROUP BY trace_id")
    assert {row["trace_id"]: (row["spans"], row["marked"], row["count"]) for row in rows} == {
        **{id: (4, 0, 16.0) for id in by_head}, **{id: (4, 4, 0.0) for id in by_tail}}
    assert server.metric("sheaf_tail_sampling_kept_rows_total") == 4 * len(by_tail)
    assert server.metric("sheaf_tail_sampling_spilled_rows_total") == 0
    assert server.metric("sheaf_tail_sampling_held_bytes") > 0


def test_a_mistake_in_the_rules_is_told_at_the_start(program, tmp_path):
    answer = program.run("serve", "--data", tmp_path / "data", environment={"SHEAF_SAMPLING_TRACES": "checkout = 50"})
    assert answer.returncode != 0
    assert "sampling.traces: sampling rule 'checkout = 50'" in answer.stderr
