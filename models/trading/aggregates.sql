-- ohlc(price, time): the first, highest, lowest and last price of a group, as a struct of open, high, low and close. Where several
-- trades have the first or last time, any of them counts; market_analysis() goes by their ids. NULL prices do not count.
CREATE MACRO ohlc(price, moment) AS {'open': arg_min(price, moment), 'high': max(price), 'low': min(price), 'close': arg_max(price, moment)};

-- vwap(price, volume): the average price, weighted by volume; NULL where there is no volume. Rows without a price or a volume do not count.
CREATE MACRO vwap(price, volume) AS sum(price * volume) / nullif(sum(volume) FILTER (price IS NOT NULL), 0);
