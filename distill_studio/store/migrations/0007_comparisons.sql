-- Side-by-side comparisons and what people voted on them. The pairwise outcomes of a vote are
-- rows of votes and preferences; this keeps the vote as it was given, over two to four answers.

CREATE TABLE comparisons (
    id VARCHAR PRIMARY KEY,
    messages JSON NOT NULL,
    prompt VARCHAR NOT NULL,
    answers JSON NOT NULL,
    sampling JSON NOT NULL DEFAULT '{}',
    is_blind BOOLEAN NOT NULL DEFAULT false,
    set_id VARCHAR,
    set_number INTEGER NOT NULL DEFAULT 0,
    user_name VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    UNIQUE (set_id, set_number)
);

CREATE SEQUENCE comparison_vote_order;
CREATE TABLE comparison_votes (
    seq BIGINT NOT NULL DEFAULT nextval('comparison_vote_order'),
    user_name VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    comparison_id VARCHAR NOT NULL,
    winner VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_name, id)
);

-- A person's newest vote on a comparison is the one in force.
CREATE VIEW comparison_votes_in_force AS
SELECT comparison_id, user_name, id, winner, made_at
FROM (
    SELECT v.*, row_number() OVER (
        PARTITION BY v.comparison_id, v.user_name ORDER BY v.seq DESC) AS newest
    FROM comparison_votes v
)
WHERE newest = 1;
