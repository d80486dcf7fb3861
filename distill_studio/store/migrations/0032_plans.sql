-- Plans: several trainings as one, in stages or over a grid. Their runs are named after them.

CREATE TABLE plans (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,
    kind VARCHAR NOT NULL,
    specs JSON NOT NULL,
    grid JSON NOT NULL DEFAULT '{}',
    job_id VARCHAR NOT NULL DEFAULT '',
    user_name VARCHAR NOT NULL DEFAULT '',
    created_at TIMESTAMPTZ NOT NULL
);
