-- A generated pair's source said its recipe over again: it is its prompt's, or of a new prompt that
-- of the one that it came from.

UPDATE pairs SET source = s.source FROM seeds s
WHERE s.id = pairs.seed_id AND pairs.source = pairs.recipe AND pairs.recipe <> 'import'
    AND json_extract_string(pairs.params, '$.from_seed') IS NULL;

UPDATE pairs SET source = coalesce((SELECT nullif(s.source, '') FROM seeds s
    WHERE s.id = json_extract_string(pairs.params, '$.from_seed')), 'generated')
WHERE source = recipe AND recipe <> 'import'
    AND json_extract_string(params, '$.from_seed') IS NOT NULL;
