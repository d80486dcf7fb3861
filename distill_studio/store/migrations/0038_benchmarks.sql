-- Public benchmarks: one model on some tasks of lm-evaluation-harness, and what it scored.

CREATE TABLE benchmark_runs (
    id VARCHAR PRIMARY KEY,
    model_id VARCHAR NOT NULL,
    model JSON NOT NULL,
    tasks VARCHAR[] NOT NULL,
    settings JSON NOT NULL,
    settings_key VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    error VARCHAR NOT NULL,
    facts JSON NOT NULL,
    job_id VARCHAR NOT NULL,
    pid INTEGER,
    pid_started DOUBLE,
    user_name VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
);

CREATE TABLE benchmark_scores (
    run_id VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    place INTEGER NOT NULL,
    metric VARCHAR NOT NULL,
    filter VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    stderr DOUBLE,
    n INTEGER NOT NULL,
    total INTEGER NOT NULL,
    shots INTEGER,
    version VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    is_higher_better BOOLEAN NOT NULL,
    is_asked BOOLEAN NOT NULL,
    PRIMARY KEY (run_id, task, metric, filter)
);
