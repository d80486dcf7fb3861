-- A search reads the pattern of trigrams first (store/search.py) and few texts after it. Both are
-- stored as they are: unpacking texts took four fifths of a search's time (125 ms against 28 ms for
-- 170 MB). Rows from before have no pattern: their texts are read.
ALTER TABLE pairs ADD COLUMN plain_text VARCHAR USING COMPRESSION uncompressed;
UPDATE pairs SET plain_text = search_text;
ALTER TABLE pairs DROP COLUMN search_text;
ALTER TABLE pairs RENAME COLUMN plain_text TO search_text;
ALTER TABLE pairs ADD COLUMN search_bits BIT USING COMPRESSION uncompressed;
