-- The way back: what was made of the prompts of a suite on which a student did worse.

CREATE TABLE feedback (
    id VARCHAR PRIMARY KEY,
    trial_id VARCHAR NOT NULL,
    suite_id VARCHAR NOT NULL,
    student VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    numbers INTEGER[] NOT NULL,
    job_id VARCHAR NOT NULL DEFAULT '',
    user_name VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
