-- Runs: what was trained, how, and how it ended. Their events stay in events.jsonl of the run.

CREATE TABLE runs (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,
    method VARCHAR NOT NULL,
    snapshot_id VARCHAR NOT NULL,
    config JSON NOT NULL,
    state VARCHAR NOT NULL,
    job_id VARCHAR NOT NULL DEFAULT '',
    pid BIGINT,
    pid_started DOUBLE,
    metrics JSON NOT NULL DEFAULT '{}',
    error VARCHAR NOT NULL DEFAULT '',
    user_name VARCHAR NOT NULL DEFAULT '',
    created_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
);
