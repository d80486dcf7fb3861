-- What people note of a run, for themselves and each other; some of it for the model's card.

-- `run_id` names the run for good: a run that is made under an old name has no old notes.
CREATE TABLE run_notes (
    id VARCHAR PRIMARY KEY,
    run_id VARCHAR NOT NULL,
    user_name VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    in_card BOOLEAN NOT NULL,
    made_at TIMESTAMPTZ NOT NULL
);
