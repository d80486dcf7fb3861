-- Diversity: topic clusters and their map, rows that people set aside, selections of N rows.

CREATE SEQUENCE topic_run_numbers;
CREATE TABLE topic_runs (
    number BIGINT PRIMARY KEY DEFAULT nextval('topic_run_numbers'),
    model VARCHAR NOT NULL,
    dim INTEGER NOT NULL,
    settings JSON NOT NULL,
    report JSON NOT NULL,
    user_name VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL
);

-- The clusters of the newest run. `name` comes from terms, `label` from a teacher, `given_name`
-- from a person; the last that is there counts.
CREATE TABLE topic_clusters (
    number INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    label VARCHAR NOT NULL DEFAULT '',
    given_name VARCHAR NOT NULL DEFAULT '',
    terms JSON NOT NULL,
    centre FLOAT[] NOT NULL
);

-- Prompts by the hash of their text, as in pair_texts: their cluster and their place on the map.
CREATE TABLE topic_texts (
    text_hash VARCHAR NOT NULL,
    cluster INTEGER NOT NULL,
    similarity DOUBLE NOT NULL,
    x DOUBLE NOT NULL,
    y DOUBLE NOT NULL
);

CREATE VIEW cluster_names AS
SELECT number, coalesce(nullif(given_name, ''), nullif(label, ''), name) AS name
FROM topic_clusters;

-- Each pair's cluster (NULL when it has none yet), and its topic: its own, else its cluster's name.
CREATE VIEW pair_topics AS
SELECT p.id AS pair_id, x.cluster, coalesce(nullif(p.topic, ''), c.name, '') AS topic
FROM pairs p LEFT JOIN pair_texts t ON t.pair_id = p.id
LEFT JOIN topic_texts x ON x.text_hash = t.prompt_hash
LEFT JOIN cluster_names c ON c.number = x.cluster;

-- Rows that a person set aside on the map, or that a selection did not take. Never changed: which
-- of these lists are in force is a setting of the filter `set_aside`, so that undo takes it back.
CREATE SEQUENCE set_aside_numbers;
CREATE TABLE set_aside_lists (
    number BIGINT PRIMARY KEY DEFAULT nextval('set_aside_numbers'),
    kind VARCHAR NOT NULL,
    measure VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    settings JSON NOT NULL,
    user_name VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE set_aside_rows (
    list BIGINT NOT NULL,
    pair_id VARCHAR NOT NULL
);

CREATE VIEW set_aside_scores AS
SELECT r.pair_id, l.measure, 1.0::DOUBLE AS score, l.note
FROM set_aside_rows r JOIN set_aside_lists l ON l.number = r.list;

CREATE SEQUENCE selection_numbers;
CREATE TABLE selections (
    number BIGINT PRIMARY KEY DEFAULT nextval('selection_numbers'),
    settings JSON NOT NULL,
    report JSON NOT NULL,
    user_name VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE selection_rows (
    selection BIGINT NOT NULL,
    method VARCHAR NOT NULL,
    place INTEGER NOT NULL,
    pair_id VARCHAR NOT NULL
);
