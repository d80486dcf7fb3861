-- Notes and tags of reviewers, and the reject reasons that a workspace offers.

-- A decision of kind 'note' carries a note and tags and leaves the row's status alone. The newest
-- one of a person about a pair counts; an empty one takes note and tags away.
ALTER TABLE decisions ADD COLUMN tags VARCHAR[];

-- What the notes in force say; follows from `decisions` in the same transaction.
CREATE TABLE pair_notes (
    pair_id VARCHAR NOT NULL,
    user_name VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    tags VARCHAR[] NOT NULL,
    made_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (pair_id, user_name)
);

-- The reasons on the digit keys, in order; none: the standard ones.
CREATE TABLE reject_reasons (
    position INTEGER PRIMARY KEY,
    reason VARCHAR NOT NULL
);
