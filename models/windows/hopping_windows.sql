-- The starts of all windows of length `size`, one each `slide`, that hold the time: hopping_windows(time, INTERVAL 10 MINUTE, INTERVAL 1 MINUTE)
-- gives ten. With unnest() in FROM a row stands in each of them.
CREATE MACRO hopping_windows("at", size, slide) AS
  generate_series(time_bucket(slide, "at" - size) + slide, time_bucket(slide, "at"), slide);
