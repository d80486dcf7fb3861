-- The seeds that a generation asks about, fixed when it starts: a restart must not choose anew.
-- `selection_id` stands in the job's parameters.
CREATE TABLE generation_seeds (
    selection_id VARCHAR NOT NULL,
    seed_id VARCHAR NOT NULL
);

ALTER TABLE failures ADD COLUMN teacher VARCHAR DEFAULT '';
