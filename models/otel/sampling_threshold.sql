-- sampling_threshold(trace_state): the rejection threshold that a sampler noted as `ot=th:…` (OpenTelemetry's consistent
-- probability sampling), as a number of 56 bits; NULL where there is none. A span with threshold t stands for
-- 2^56 / (2^56 - t) spans. The up to 14 hex digits are the first ones of the number.
CREATE MACRO sampling_threshold(trace_state) AS
  TRY_CAST('0x' || rpad(nullif(regexp_extract(trace_state, '(?:^|,)[ \t]*ot=(?:[^,]*;)?th:([0-9a-fA-F]{1,14})[ \t]*(?:[;,]|$)', 1), ''),
                        14, '0') AS BIGINT);
