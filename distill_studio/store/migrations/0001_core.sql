-- Seeds, pairs, decisions, votes, preferences, teachers, jobs.
-- Uniqueness comes from natural keys; ids are UUIDv7 text, so ordering by id is ordering by age.

CREATE TABLE seeds (
    id VARCHAR PRIMARY KEY,
    messages JSON NOT NULL,
    prompt VARCHAR NOT NULL,
    topic VARCHAR NOT NULL DEFAULT '',
    source VARCHAR NOT NULL DEFAULT '',
    reference VARCHAR,
    extra JSON NOT NULL DEFAULT '{}',
    content_hash VARCHAR NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE pairs (
    id VARCHAR PRIMARY KEY,
    seed_id VARCHAR NOT NULL,
    messages JSON NOT NULL,
    prompt VARCHAR NOT NULL,
    answer VARCHAR NOT NULL,
    reasoning VARCHAR NOT NULL DEFAULT '',
    topic VARCHAR NOT NULL DEFAULT '',
    source VARCHAR NOT NULL DEFAULT '',
    teacher VARCHAR NOT NULL DEFAULT '',
    model VARCHAR NOT NULL DEFAULT '',
    recipe VARCHAR NOT NULL DEFAULT '',
    recipe_version VARCHAR NOT NULL DEFAULT '',
    params JSON NOT NULL DEFAULT '{}',
    job_id VARCHAR NOT NULL DEFAULT '',
    step VARCHAR NOT NULL DEFAULT 'answer',
    sample INTEGER NOT NULL DEFAULT 0,
    finish_reason VARCHAR NOT NULL DEFAULT '',
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    latency_ms DOUBLE,
    judge_score DOUBLE,
    content_hash VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    -- current state: kept in the same transaction as decisions and curation
    status VARCHAR NOT NULL DEFAULT 'pending',
    edited_answer VARCHAR,
    reject_reason VARCHAR NOT NULL DEFAULT '',
    decided_by VARCHAR NOT NULL DEFAULT '',
    decided_at TIMESTAMPTZ,
    curation VARCHAR NOT NULL DEFAULT 'kept',
    curation_reason VARCHAR NOT NULL DEFAULT '',
    UNIQUE (job_id, seed_id, step, sample)
);

-- Requests of a generation that failed for good (so far): rows too, retried, never answers.
CREATE TABLE failures (
    job_id VARCHAR NOT NULL,
    seed_id VARCHAR NOT NULL,
    step VARCHAR NOT NULL,
    sample INTEGER NOT NULL,
    code VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 1,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (job_id, seed_id, step, sample)
);

CREATE SEQUENCE decision_order;
CREATE TABLE decisions (
    seq BIGINT NOT NULL DEFAULT nextval('decision_order'),
    user_name VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    pair_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    answer VARCHAR,
    reason VARCHAR NOT NULL DEFAULT '',
    note VARCHAR NOT NULL DEFAULT '',
    undoes VARCHAR,
    made_at TIMESTAMPTZ NOT NULL,
    stored_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (user_name, id)
);

-- What the decisions alone say; a test compares it with the columns on pairs.
CREATE VIEW decisions_in_force AS
SELECT pair_id, kind, answer, reason, user_name, made_at
FROM (
    SELECT d.*, row_number() OVER (PARTITION BY d.pair_id ORDER BY d.seq DESC) AS newest
    FROM decisions d
    WHERE d.kind IN ('accept', 'edit', 'reject')
      AND NOT EXISTS (
          SELECT 1 FROM decisions u
          WHERE u.kind = 'undo' AND u.user_name = d.user_name AND u.undoes = d.id)
)
WHERE newest = 1;

-- A comparison as it was shown: which pair stood on which side, for whom.
CREATE TABLE comparison_tasks (
    id VARCHAR PRIMARY KEY,
    seed_id VARCHAR NOT NULL,
    left_pair_id VARCHAR NOT NULL,
    right_pair_id VARCHAR NOT NULL,
    user_name VARCHAR NOT NULL,
    source VARCHAR NOT NULL DEFAULT 'person',
    created_at TIMESTAMPTZ NOT NULL
);

CREATE SEQUENCE vote_order;
CREATE TABLE votes (
    seq BIGINT NOT NULL DEFAULT nextval('vote_order'),
    user_name VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    task_id VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    strength INTEGER,
    reason VARCHAR NOT NULL DEFAULT '',
    undoes VARCHAR,
    made_at TIMESTAMPTZ NOT NULL,
    stored_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (user_name, id)
);

CREATE TABLE preferences (
    id VARCHAR PRIMARY KEY,
    seed_id VARCHAR NOT NULL,
    chosen_pair_id VARCHAR NOT NULL,
    rejected_pair_id VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    strength INTEGER,
    user_name VARCHAR NOT NULL DEFAULT '',
    source VARCHAR NOT NULL,
    vote_id VARCHAR NOT NULL DEFAULT '',
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE teachers (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,
    config JSON NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE jobs (
    id VARCHAR PRIMARY KEY,
    kind VARCHAR NOT NULL,
    title VARCHAR NOT NULL DEFAULT '',
    state VARCHAR NOT NULL,
    user_name VARCHAR NOT NULL,
    params JSON NOT NULL DEFAULT '{}',
    result JSON NOT NULL DEFAULT '{}',
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER,
    note VARCHAR NOT NULL DEFAULT '',
    error VARCHAR NOT NULL DEFAULT '',
    created_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    ended_at TIMESTAMPTZ
);

CREATE TABLE job_events (
    job_id VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL,
    message VARCHAR NOT NULL
);
