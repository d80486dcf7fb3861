-- Own evaluation sets as benchmarks, and what models say of candidates.

-- kind: benchmark (a file or the Hub), validation (a snapshot's split), prompts (of comparison
-- sets). The last two are kept in step with where they come from; `origin` says from which.
ALTER TABLE leak_packs ADD COLUMN kind VARCHAR DEFAULT 'benchmark';
ALTER TABLE leak_packs ADD COLUMN origin VARCHAR DEFAULT '';

-- What a model said of an item and a text: leak, not_leak, unsure; or unreadable and failed, where
-- nothing could be made of its reply or none came. Append-only; a verdict of a person always wins.
CREATE SEQUENCE leak_opinion_order;
CREATE TABLE leak_opinions (
    seq BIGINT NOT NULL DEFAULT nextval('leak_opinion_order'),
    item_key VARCHAR NOT NULL,
    text_hash VARCHAR NOT NULL,
    teacher VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    prompt_version VARCHAR NOT NULL,
    said VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    job_id VARCHAR NOT NULL,
    user_name VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL
);

-- The newest opinion, a readable one where there is any.
CREATE VIEW leak_opinions_in_force AS
SELECT item_key, text_hash, teacher, model, said, reason, made_at FROM leak_opinions
QUALIFY row_number() OVER (PARTITION BY item_key, text_hash
    ORDER BY said IN ('unreadable', 'failed'), seq DESC) = 1;

-- Candidates that a model called a leak and that no person has judged.
CREATE VIEW leak_model_evidence AS
SELECT t.pair_id, c.pack, c.item, c.similarity AS score, o.teacher
FROM leak_candidates c JOIN leak_items i ON i.pack = c.pack AND i.number = c.item
JOIN leak_opinions_in_force o ON o.item_key = i.item_key AND o.text_hash = c.text_hash
LEFT JOIN leak_verdicts_in_force v ON v.item_key = i.item_key AND v.text_hash = c.text_hash
JOIN pair_texts t ON t.prompt_hash = c.text_hash
WHERE o.said = 'leak' AND coalesce(v.verdict, 'clear') = 'clear';

-- One line a row and measure, the strongest reason, as scores of the filter `contaminated`. It
-- looks at `leak.model` only where that is switched on.
CREATE OR REPLACE VIEW leak_scores AS
SELECT e.pair_id, e.measure, e.score, p.name || ', ' || i.label || ': ' ||
    CASE e.rule WHEN 'exact' THEN 'the same text' WHEN 'ngram' THEN '13 or more words in a row'
    WHEN 'coverage' THEN 'more than half of its words' WHEN 'person' THEN 'a person said so'
    ELSE e.teacher || ' said so' END AS note
FROM (
    SELECT pair_id, pack, item, rule, score, '' AS teacher, 'leak' AS measure FROM leak_evidence
    UNION ALL
    SELECT pair_id, pack, item, 'model', score, teacher, 'leak.model' FROM leak_model_evidence
) e JOIN leak_packs p ON p.id = e.pack
JOIN leak_items i ON i.pack = e.pack AND i.number = e.item
QUALIFY row_number() OVER (PARTITION BY e.pair_id, e.measure ORDER BY
    CASE e.rule WHEN 'exact' THEN 0 WHEN 'ngram' THEN 1 WHEN 'coverage' THEN 2 ELSE 3 END,
    e.score DESC, p.name, e.item) = 1;
