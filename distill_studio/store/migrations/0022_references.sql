-- Other datasets that rows are compared with. Nothing of them becomes a row here.

CREATE TABLE reference_sets (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,
    source VARCHAR NOT NULL,
    items INTEGER NOT NULL,
    user_name VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL
);

-- Hashes and keys as in pair_texts ('' = no text).
CREATE TABLE reference_items (
    reference VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    prompt VARCHAR NOT NULL,
    answer VARCHAR NOT NULL,
    prompt_hash VARCHAR NOT NULL,
    answer_hash VARCHAR NOT NULL,
    prompt_key VARCHAR NOT NULL,
    answer_key VARCHAR NOT NULL
);

-- How far a comparison has come: the units of this field and model (dedup_units) below
-- `compared_to` were compared, and what is at least `floor` alike is in reference_hits.
CREATE TABLE reference_searches (
    reference VARCHAR NOT NULL,
    field VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    floor DOUBLE NOT NULL,
    compared_to BIGINT NOT NULL,
    PRIMARY KEY (reference, field)
);

-- Of a text of rows (by hash, '' where the field leaves it out) the most alike item.
CREATE TABLE reference_hits (
    reference VARCHAR NOT NULL,
    field VARCHAR NOT NULL,
    prompt_hash VARCHAR NOT NULL,
    answer_hash VARCHAR NOT NULL,
    item INTEGER NOT NULL,
    similarity DOUBLE NOT NULL
);

-- Rows beside items: equal ones by their keys, with nothing embedded, and near ones.
CREATE VIEW reference_near AS
SELECT t.pair_id, i.reference, i.number AS item, 'prompt' AS field, 1.0::DOUBLE AS similarity,
    true AS is_exact
FROM reference_items i JOIN pair_texts t ON t.prompt_key = i.prompt_key WHERE i.prompt_key <> ''
UNION ALL
SELECT t.pair_id, i.reference, i.number, 'answer', 1.0, true
FROM reference_items i JOIN pair_texts t ON t.answer_key = i.answer_key WHERE i.answer_key <> ''
UNION ALL
SELECT t.pair_id, i.reference, i.number, 'both', 1.0, true
FROM reference_items i JOIN pair_texts t
    ON t.prompt_key = i.prompt_key AND t.answer_key = i.answer_key
WHERE i.prompt_key <> '' AND i.answer_key <> ''
UNION ALL
SELECT t.pair_id, h.reference, h.item, 'prompt', h.similarity, false
FROM reference_hits h JOIN pair_texts t ON t.prompt_hash = h.prompt_hash WHERE h.field = 'prompt'
UNION ALL
SELECT t.pair_id, h.reference, h.item, 'answer', h.similarity, false
FROM reference_hits h JOIN pair_texts t ON t.answer_hash = h.answer_hash WHERE h.field = 'answer'
UNION ALL
SELECT t.pair_id, h.reference, h.item, 'both', h.similarity, false
FROM reference_hits h JOIN pair_texts t
    ON t.prompt_hash = h.prompt_hash AND t.answer_hash = h.answer_hash
WHERE h.field = 'both';

-- One line a row and field, the most alike item, as a score of the filter `reference`.
CREATE VIEW reference_scores AS
SELECT n.pair_id, 'reference.' || n.field AS measure, n.similarity AS score, s.name AS note
FROM reference_near n JOIN reference_sets s ON s.id = n.reference
QUALIFY row_number() OVER (PARTITION BY n.pair_id, n.field
    ORDER BY n.similarity DESC, n.is_exact DESC, s.name, n.item) = 1;
