-- Curate: scores of filters, hashes and vectors of texts, near pairs, what was applied and undone.

-- Which version of a row's text was measured by which version of the filters.
CREATE TABLE measured_pairs (
    pair_id VARCHAR PRIMARY KEY,
    content_key VARCHAR NOT NULL,
    filters VARCHAR NOT NULL
);

-- One score per row and measure; no key, so that a million rows stay cheap: the writer deletes
-- a row's scores before it writes new ones, in one transaction.
CREATE TABLE filter_scores (
    pair_id VARCHAR NOT NULL,
    measure VARCHAR NOT NULL,
    score DOUBLE NOT NULL,
    note VARCHAR NOT NULL DEFAULT ''
);

-- Hashes of a row's prompt and answer, as they are and in normal form ('' = no text).
CREATE TABLE pair_texts (
    pair_id VARCHAR PRIMARY KEY,
    content_key VARCHAR NOT NULL,
    prompt_hash VARCHAR NOT NULL,
    answer_hash VARCHAR NOT NULL,
    prompt_key VARCHAR NOT NULL,
    answer_key VARCHAR NOT NULL
);

-- Tables `vectors_<dim>` (model, text_hash, window_no, vector FLOAT[dim]) are made when needed.

-- The distinct texts (or prompt-answer couples) that are compared, numbered 0, 1, ... per model
-- and field in the order in which they came.
CREATE TABLE dedup_units (
    model VARCHAR NOT NULL,
    field VARCHAR NOT NULL,
    number BIGINT NOT NULL,
    prompt_hash VARCHAR NOT NULL DEFAULT '',
    answer_hash VARCHAR NOT NULL DEFAULT '',
    PRIMARY KEY (model, field, number)
);

-- How far the search of a model and field has come: all pairs of units below `searched_to` with a
-- similarity of at least `floor` are in `near_pairs`.
CREATE TABLE near_searches (
    model VARCHAR NOT NULL,
    field VARCHAR NOT NULL,
    dim INTEGER NOT NULL,
    floor DOUBLE NOT NULL,
    searched_to BIGINT NOT NULL DEFAULT 0,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (model, field)
);

CREATE TABLE near_pairs (
    model VARCHAR NOT NULL,
    field VARCHAR NOT NULL,
    a BIGINT NOT NULL,
    b BIGINT NOT NULL,
    similarity DOUBLE NOT NULL
);

-- What people said of two rows; a_id < b_id. Verdicts: keep_both, keep_a, keep_b.
CREATE TABLE near_verdicts (
    a_id VARCHAR NOT NULL,
    b_id VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL,
    user_name VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (a_id, b_id)
);

-- What was applied to `pairs.curation`, and how to take it back.
CREATE SEQUENCE curation_action_numbers;
CREATE TABLE curation_actions (
    number BIGINT PRIMARY KEY DEFAULT nextval('curation_action_numbers'),
    user_name VARCHAR NOT NULL,
    settings JSON NOT NULL,
    report JSON NOT NULL DEFAULT '{}',
    made_at TIMESTAMPTZ NOT NULL,
    undone_at TIMESTAMPTZ,
    undone_by VARCHAR NOT NULL DEFAULT ''
);

CREATE TABLE curation_changes (
    action BIGINT NOT NULL,
    pair_id VARCHAR NOT NULL,
    curation_before VARCHAR NOT NULL,
    reason_before VARCHAR NOT NULL,
    curation VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    code VARCHAR NOT NULL DEFAULT '',
    score DOUBLE,
    lost_to VARCHAR NOT NULL DEFAULT ''
);
