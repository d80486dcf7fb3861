-- Curation settings under a name, and which of them a step applied.

CREATE TABLE curation_pipelines (
    name VARCHAR PRIMARY KEY,
    settings JSON NOT NULL,
    -- whether a run also embeds new rows and compares their meaning
    compares BOOLEAN NOT NULL,
    user_name VARCHAR NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL
);

ALTER TABLE curation_actions ADD COLUMN pipeline VARCHAR DEFAULT '';
