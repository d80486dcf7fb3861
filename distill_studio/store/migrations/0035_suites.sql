-- Suites: prompts with what a good answer is, and how models did on them.

CREATE TABLE suites (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,
    scorer VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    content_hash VARCHAR NOT NULL,
    item_count INTEGER NOT NULL,
    user_name VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE suite_items (
    suite_id VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    messages JSON NOT NULL,
    reference VARCHAR NOT NULL,
    choices VARCHAR[] NOT NULL,
    topic VARCHAR NOT NULL,
    PRIMARY KEY (suite_id, number)
);

-- One asking of some models: its settings, and the models as they were.
CREATE TABLE suite_trials (
    id VARCHAR PRIMARY KEY,
    suite_id VARCHAR NOT NULL,
    models JSON NOT NULL,
    sampling JSON NOT NULL,
    samples INTEGER NOT NULL,
    most_items INTEGER NOT NULL,
    user_name VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- An answer and its score; where there is none, the error says why.
CREATE TABLE suite_answers (
    trial_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    sample INTEGER NOT NULL,
    answer VARCHAR NOT NULL,
    score DOUBLE,
    reason VARCHAR NOT NULL,
    error VARCHAR NOT NULL,
    is_cut BOOLEAN NOT NULL,
    tokens INTEGER,
    latency_ms DOUBLE,
    PRIMARY KEY (trial_id, model, number, sample)
);
