-- Frozen datasets. The rows themselves lie in <workspace>/snapshots/<name>/, never to change.
CREATE TABLE snapshots (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,
    format VARCHAR NOT NULL,
    content_hash VARCHAR NOT NULL,
    train_rows BIGINT NOT NULL,
    validation_rows BIGINT NOT NULL,
    manifest JSON NOT NULL DEFAULT '{}',
    user_name VARCHAR NOT NULL DEFAULT '',
    created_at TIMESTAMPTZ NOT NULL
);
