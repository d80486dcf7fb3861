-- vLLM servers that the app started: known by pid and start time, so that a restart finds them.
CREATE TABLE servers (
    name VARCHAR PRIMARY KEY,
    options JSON NOT NULL,
    port INTEGER NOT NULL,
    pid INTEGER,
    pid_started DOUBLE,
    was_ready BOOLEAN NOT NULL DEFAULT false,
    stopped_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);
