-- Leaks of benchmarks: packs and their items, rows that hold them, candidates, people's verdicts.

CREATE TABLE leak_packs (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,
    source VARCHAR NOT NULL,
    content_hash VARCHAR NOT NULL,
    items INTEGER NOT NULL,
    user_name VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL
);

-- `item_key` is the hash of the item's texts: verdicts find it again in a pack that comes anew.
-- `prompt_hash` is the hash of the question, under which its vectors are kept.
CREATE TABLE leak_items (
    pack VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    label VARCHAR NOT NULL,
    prompt VARCHAR NOT NULL,
    answer VARCHAR NOT NULL,
    item_key VARCHAR NOT NULL,
    prompt_hash VARCHAR NOT NULL
);

-- Which version of a row was checked, by which version of the rules. No key, as in filter_scores:
-- the writer deletes a row's entries before it writes new ones, in one transaction.
CREATE TABLE leak_checked (
    pack VARCHAR NOT NULL,
    pair_id VARCHAR NOT NULL,
    content_key VARCHAR NOT NULL,
    rules VARCHAR NOT NULL
);

-- A row that holds an item; `text_hash` is that of the row's text (prompt, answer, reasoning).
CREATE TABLE leak_hits (
    pack VARCHAR NOT NULL,
    pair_id VARCHAR NOT NULL,
    item INTEGER NOT NULL,
    rule VARCHAR NOT NULL,
    item_side VARCHAR NOT NULL,
    row_side VARCHAR NOT NULL,
    coverage DOUBLE NOT NULL,
    shared JSON NOT NULL,
    text_hash VARCHAR NOT NULL
);

-- Texts of rows (by hash) that may say the same as an item. Never removed without a verdict.
CREATE TABLE leak_candidates (
    pack VARCHAR NOT NULL,
    item INTEGER NOT NULL,
    text_hash VARCHAR NOT NULL,
    similarity DOUBLE NOT NULL,
    rank DOUBLE NOT NULL,
    model VARCHAR NOT NULL
);

-- What people said of an item and a text: leak, not_leak, or clear. Append-only, as decisions are;
-- the newest counts.
CREATE SEQUENCE leak_verdict_order;
CREATE TABLE leak_verdicts (
    seq BIGINT NOT NULL DEFAULT nextval('leak_verdict_order'),
    user_name VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    item_key VARCHAR NOT NULL,
    text_hash VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_name, id)
);

CREATE VIEW leak_verdicts_in_force AS
SELECT item_key, text_hash, verdict, user_name, made_at FROM leak_verdicts
QUALIFY row_number() OVER (PARTITION BY item_key, text_hash ORDER BY seq DESC) = 1;

-- Every reason for which a row counts as leaked: verbatim hits unless a person said no, and
-- candidates of which a person said yes.
CREATE VIEW leak_evidence AS
SELECT h.pair_id, h.pack, h.item, h.rule, h.coverage AS score
FROM leak_hits h JOIN leak_items i ON i.pack = h.pack AND i.number = h.item
LEFT JOIN leak_verdicts_in_force v ON v.item_key = i.item_key AND v.text_hash = h.text_hash
WHERE v.verdict IS DISTINCT FROM 'not_leak'
UNION ALL
SELECT t.pair_id, c.pack, c.item, 'person', c.similarity
FROM leak_candidates c JOIN leak_items i ON i.pack = c.pack AND i.number = c.item
JOIN leak_verdicts_in_force v ON v.item_key = i.item_key AND v.text_hash = c.text_hash
JOIN pair_texts t ON t.prompt_hash = c.text_hash
WHERE v.verdict = 'leak';

-- One line a row, the strongest reason, as a score of the filter `contaminated`.
CREATE VIEW leak_scores AS
SELECT e.pair_id, 'leak' AS measure, e.score, p.name || ', ' || i.label || ': ' ||
    CASE e.rule WHEN 'exact' THEN 'the same text' WHEN 'ngram' THEN '13 or more words in a row'
    WHEN 'coverage' THEN 'more than half of its words' ELSE 'a person said so' END AS note
FROM leak_evidence e JOIN leak_packs p ON p.id = e.pack
JOIN leak_items i ON i.pack = e.pack AND i.number = e.item
QUALIFY row_number() OVER (PARTITION BY e.pair_id ORDER BY
    CASE e.rule WHEN 'exact' THEN 0 WHEN 'ngram' THEN 1 WHEN 'coverage' THEN 2 ELSE 3 END,
    e.score DESC, p.name, e.item) = 1;
