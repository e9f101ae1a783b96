-- market_analysis(from, to, bucket, for_instrument := NULL): prices and volumes of the trades in [from, to), of each
-- instrument and bucket. `bucket` is an interval or text such as '1 minute'.
--
-- A trade may be stored twice, once for each of its sides; rows that agree in id, time, price and volume are one trade.
-- Of trades at one time the lower id is the earlier, shorter ids first, so that 9 comes before 10. `turnover` is exact;
-- `vwap` is turnover / volume, NULL where nothing but trades of volume 0 happened; `spread` is high - low.
CREATE MACRO market_analysis(from_time, to_time, bucket_width, for_instrument := NULL) AS TABLE
SELECT instrument_id, bucket, arg_min(price, (time, length(trade_id), trade_id)) AS open, max(price) AS high, min(price) AS low,
       arg_max(price, (time, length(trade_id), trade_id)) AS close, sum(volume)::BIGINT AS volume, count(*) AS trade_count,
       sum(price * volume) AS turnover, sum(price * volume) / nullif(sum(volume), 0) AS vwap, max(price) - min(price) AS spread
FROM (
  SELECT DISTINCT instrument_id, time_bucket(bucket_width::INTERVAL, time)::TIMESTAMP_NS AS bucket, time, trade_id, price, volume
  FROM trading.trades
  WHERE check_argument(from_time::TIMESTAMP_NS <= to_time::TIMESTAMP_NS, 'market_analysis: from must be a time at or before to')
    AND check_argument(bucket_width::INTERVAL > INTERVAL 0 seconds, 'market_analysis: bucket must be longer than 0')
    AND time >= from_time::TIMESTAMP_NS AND time < to_time::TIMESTAMP_NS
    AND (for_instrument IS NULL OR instrument_id = for_instrument))
GROUP BY instrument_id, bucket
ORDER BY instrument_id, bucket;
