-- What inference costs: tokens read by each answer, and the price of the machine that local models
-- ran on, where somebody gave one (USD an hour).

ALTER TABLE suite_answers ADD COLUMN prompt_tokens INTEGER;
ALTER TABLE suite_trials ADD COLUMN usd_per_hour DOUBLE;
