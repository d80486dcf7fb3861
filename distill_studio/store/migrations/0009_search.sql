-- What a search looks in: prompt and answer in small letters, kept so that a search of a big store
-- reads one column and changes no letters. An edited answer is looked at as it is.
ALTER TABLE pairs ADD COLUMN search_text VARCHAR DEFAULT '';
UPDATE pairs SET search_text = lower(prompt || chr(10) || answer);
