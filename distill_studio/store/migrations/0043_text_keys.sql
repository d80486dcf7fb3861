-- Which version of the normal form a key was made with (KEY_VERSION in curate/text.py). Keys of
-- older ones are made anew with the next hashing, and what people and models said of an item under
-- its former key is then said of it under the new one: that is why verdicts from before are 1.

ALTER TABLE pair_texts ADD COLUMN version INTEGER DEFAULT 1;
ALTER TABLE reference_items ADD COLUMN version INTEGER DEFAULT 1;
ALTER TABLE leak_items ADD COLUMN version INTEGER DEFAULT 1;

ALTER TABLE leak_verdicts ADD COLUMN version INTEGER DEFAULT 2;
UPDATE leak_verdicts SET version = 1;
ALTER TABLE leak_opinions ADD COLUMN version INTEGER DEFAULT 2;
UPDATE leak_opinions SET version = 1;
