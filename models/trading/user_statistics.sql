-- user_statistics(from, to, for_user := NULL): what each user ordered (orders created in [from, to), filled as they are
-- by now) and traded in [from, to), and their account as it is now. Users who did neither have no row; who has no
-- account has NULL in its columns. `fill_ratio` is filled_volume / ordered_volume, NULL where nothing was ordered.
CREATE MACRO user_statistics(from_time, to_time, for_user := NULL) AS TABLE
WITH ordered AS (
  SELECT user_id, count(*) AS order_count, count(*) FILTER (volume > 0 AND filled_volume >= volume) AS filled_order_count,
         sum(volume)::BIGINT AS ordered_volume, sum(filled_volume)::BIGINT AS filled_volume
  FROM trading.orders
  WHERE check_argument(from_time::TIMESTAMP_NS <= to_time::TIMESTAMP_NS, 'user_statistics: from must be a time at or before to')
    AND created_at >= from_time::TIMESTAMP_NS AND created_at < to_time::TIMESTAMP_NS AND (for_user IS NULL OR user_id = for_user)
  GROUP BY user_id),
traded AS (
  SELECT user_id, count(*) AS trade_count, count(DISTINCT instrument_id) AS instrument_count,
         sum(volume) FILTER (direction = 'BUY') AS buy_volume, sum(volume) FILTER (direction = 'SELL') AS sell_volume,
         sum(price * volume) AS turnover, min(time) AS first_trade, max(time) AS last_trade
  FROM trading.trades
  WHERE time >= from_time::TIMESTAMP_NS AND time < to_time::TIMESTAMP_NS AND (for_user IS NULL OR user_id = for_user)
  GROUP BY user_id)
SELECT user_id, coalesce(order_count, 0) AS order_count, coalesce(filled_order_count, 0) AS filled_order_count,
       coalesce(ordered_volume, 0) AS ordered_volume, coalesce(filled_volume, 0) AS filled_volume,
       filled_volume / nullif(ordered_volume, 0) AS fill_ratio, coalesce(trade_count, 0) AS trade_count,
       coalesce(instrument_count, 0) AS instrument_count, coalesce(buy_volume, 0)::BIGINT AS buy_volume,
       coalesce(sell_volume, 0)::BIGINT AS sell_volume, coalesce(turnover, 0) AS turnover, first_trade, last_trade,
       account.balance, account.available, account.frozen, account.margin, account.realized_pnl, account.unrealized_pnl
FROM ordered FULL JOIN traded USING (user_id) LEFT JOIN trading.accounts account USING (user_id)
ORDER BY user_id;
