-- profit_and_loss(from, to, for_user := NULL): what each user earned in each instrument by closing positions in
-- [from, to), and what is open at `to`, valued at the instrument's last price before `to`.
--
-- BUY OPEN and SELL CLOSE open and close a long position, SELL OPEN and BUY CLOSE a short one, and what was opened first is
-- closed first. The profit of a range needs the cost of what it closed, whenever that was opened: all trades before `to` are
-- read, not only those of the range. Volume that was closed while nothing was open (its opening has expired, say) has no
-- cost: it earns nothing and is counted in `unmatched_volume`. Prices count for one unit of volume; there are no fees. Rows
-- of other directions or offset flags are left out. Of trades at one time those that open come first, then the lower ids.
CREATE MACRO profit_and_loss(from_time, to_time, for_user := NULL) AS TABLE
-- A position's trades in order, with its volume behind each (below 0 where openings are missing).
WITH ordered AS (
  SELECT user_id, instrument_id, is_long, opens, time >= from_time::TIMESTAMP_NS AS in_range, price, volume,
         row_number() OVER so_far AS place, sum(CASE WHEN opens THEN volume ELSE -volume END) OVER so_far AS balance,
         coalesce(sum(volume) FILTER (opens) OVER so_far, 0) AS opened_so_far
  FROM (SELECT *, offset_flag = 'OPEN' AS opens, (direction = 'BUY') = (offset_flag = 'OPEN') AS is_long FROM trading.trades
        WHERE check_argument(from_time::TIMESTAMP_NS <= to_time::TIMESTAMP_NS, 'profit_and_loss: from must be a time at or before to')
          AND time < to_time::TIMESTAMP_NS AND direction IN ('BUY', 'SELL') AND offset_flag IN ('OPEN', 'CLOSE') AND volume > 0
          AND price IS NOT NULL AND (for_user IS NULL OR user_id = for_user))
  WINDOW so_far AS (PARTITION BY user_id, instrument_id, is_long ORDER BY time, opens DESC, length(trade_id), trade_id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)),
-- What was missing so far is how far the balance has ever been below 0; a closing trade that lowers that is unmatched by as much.
closings AS (
  SELECT *, CASE WHEN opens THEN 0 ELSE
              volume - greatest(0, max(-balance) OVER so_far) + greatest(0, coalesce(max(-balance) OVER before, 0)) END AS matched
  FROM ordered
  WINDOW so_far AS (PARTITION BY user_id, instrument_id, is_long ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
         before AS (PARTITION BY user_id, instrument_id, is_long ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
queued AS (
  SELECT *, opened_so_far - volume AS opened_before, sum(matched) OVER position AS closed,
         coalesce(sum(matched) FILTER (NOT in_range) OVER position, 0) AS closed_earlier
  FROM closings
  WINDOW position AS (PARTITION BY user_id, instrument_id, is_long)),
-- Of an opening trade: how much of it the range closed, and how much is left. Of a closing one of the range: how much it closed.
used AS (
  SELECT user_id, instrument_id, is_long, opens, in_range, price, volume,
         CASE WHEN opens THEN greatest(0, least(volume, closed - opened_before)) - greatest(0, least(volume, closed_earlier - opened_before))
              WHEN in_range THEN matched ELSE 0 END::BIGINT AS used,
         CASE WHEN opens THEN volume - greatest(0, least(volume, closed - opened_before)) ELSE 0 END::BIGINT AS remaining
  FROM queued),
-- Selling earns and buying costs: a long position is closed, a short one opened by selling.
summed AS (
  SELECT user_id, instrument_id, count(*) FILTER (in_range) AS trade_count,
         coalesce(sum(used) FILTER (NOT opens), 0)::BIGINT AS closed_volume,
         sum(price * CASE WHEN is_long = opens THEN -used ELSE used END) AS realized_pnl,
         coalesce(sum(remaining) FILTER (is_long), 0)::BIGINT AS long_volume,
         coalesce(sum(remaining) FILTER (NOT is_long), 0)::BIGINT AS short_volume,
         coalesce(sum(price * remaining) FILTER (is_long), 0) AS long_cost,
         coalesce(sum(price * remaining) FILTER (NOT is_long), 0) AS short_cost,
         coalesce(sum(volume - used) FILTER (NOT opens AND in_range), 0)::BIGINT AS unmatched_volume
  FROM used
  GROUP BY user_id, instrument_id),
latest AS (
  SELECT instrument_id, arg_max(price, (time, length(trade_id), trade_id)) AS last_price
  FROM trading.trades
  WHERE time < to_time::TIMESTAMP_NS
  GROUP BY instrument_id)
SELECT user_id, instrument_id, trade_count, closed_volume, realized_pnl, long_volume, long_cost / nullif(long_volume, 0) AS long_price,
       short_volume, short_cost / nullif(short_volume, 0) AS short_price, last_price,
       last_price * (long_volume - short_volume) - (long_cost - short_cost) AS unrealized_pnl, unmatched_volume
FROM summed JOIN latest USING (instrument_id)
WHERE trade_count > 0 OR long_volume > 0 OR short_volume > 0
ORDER BY user_id, instrument_id;
