-- Recipes of several steps: their replies on the way, the units that are through, edited texts.

-- A reply on a unit's way to its pair; a restart of the job does not ask for it again.
CREATE TABLE generation_steps (
    job_id VARCHAR NOT NULL,
    seed_id VARCHAR NOT NULL,
    sample INTEGER NOT NULL,
    step VARCHAR NOT NULL,
    teacher VARCHAR NOT NULL,
    request JSON NOT NULL,
    reply JSON NOT NULL,
    tokens INTEGER NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (job_id, seed_id, sample, step)
);

-- Units of such recipes that are through, with or without a pair: what they make may answer new
-- seeds. (A recipe of one step is through with a seed when its pair is there.)
CREATE TABLE generation_units (
    job_id VARCHAR NOT NULL,
    seed_id VARCHAR NOT NULL,
    sample INTEGER NOT NULL,
    pairs INTEGER NOT NULL,
    PRIMARY KEY (job_id, seed_id, sample)
);

-- Texts of recipes as people changed them; the newest row of a recipe is in force. Empty `texts`:
-- back to what the app ships.
CREATE TABLE recipe_texts (
    id VARCHAR PRIMARY KEY,
    recipe VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    texts JSON NOT NULL,
    user_name VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- A failure that is to be asked again: in passing always, one that the recipe gave only on request.
ALTER TABLE failures ADD COLUMN due BOOLEAN DEFAULT FALSE;
