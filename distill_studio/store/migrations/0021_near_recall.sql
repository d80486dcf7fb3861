-- How much an approximate search found: the share of the near pairs of a random sample of units,
-- its 95% interval, and how many pairs were judged. Empty: the search was exact. No pairs: it was
-- stopped before it was measured, or the sample had none.

ALTER TABLE near_searches ADD COLUMN recall DOUBLE;
ALTER TABLE near_searches ADD COLUMN recall_low DOUBLE;
ALTER TABLE near_searches ADD COLUMN recall_high DOUBLE;
ALTER TABLE near_searches ADD COLUMN recall_pairs BIGINT;
