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


def test_a_mistake_in_the_rules_is_told_at_the_start(program, tmp_path):
    answer = program.run("serve", "--data", tmp_path / "data", environment={"SHEAF_SAMPLING_TRACES": "checkout = 50"})
    assert answer.returncode != 0
    assert "sampling.traces: sampling rule 'checkout = 50'" in answer.stderr
