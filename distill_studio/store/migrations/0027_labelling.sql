-- Several people on one bench: settings, leases, overlap and adjudication.

-- Append-only; the newest row is in force.
CREATE SEQUENCE labelling_order;
CREATE TABLE labelling_settings (
    seq BIGINT NOT NULL DEFAULT nextval('labelling_order'),
    overlap INTEGER NOT NULL,
    settings JSON NOT NULL,
    user_name VARCHAR NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL
);

-- Append-only; the newest row is shown beside the task.
CREATE TABLE guidelines (
    version INTEGER PRIMARY KEY,
    text VARCHAR NOT NULL,
    user_name VARCHAR NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL
);

-- What was handed to whom and is not done yet. No key: few rows, one writer, rewritten often.
CREATE TABLE leases (
    bench VARCHAR NOT NULL,
    item_id VARCHAR NOT NULL,
    user_name VARCHAR NOT NULL,
    until TIMESTAMPTZ NOT NULL
);

-- A decision or comparison of an owner or adjudicator that settles a record for good.
ALTER TABLE decisions ADD COLUMN is_final BOOLEAN DEFAULT false;
ALTER TABLE comparison_tasks ADD COLUMN is_final BOOLEAN DEFAULT false;
ALTER TABLE preferences ADD COLUMN is_final BOOLEAN DEFAULT false;

-- How many people have voted on a pair, and whether their votes tie; follow from decisions as the
-- other columns of a decision do.
ALTER TABLE pairs ADD COLUMN votes INTEGER DEFAULT 0;
ALTER TABLE pairs ADD COLUMN is_disputed BOOLEAN DEFAULT false;
UPDATE pairs SET votes = v.n FROM (
    SELECT pair_id, count(DISTINCT user_name) AS n
    FROM decisions d ANTI JOIN decisions_taken_back t USING (user_name, id)
    WHERE d.kind IN ('accept', 'edit', 'reject') GROUP BY pair_id
) v WHERE v.pair_id = pairs.id;

-- Each person's newest decision on each pair that is not taken back: their vote.
CREATE VIEW review_votes AS
SELECT d.seq, d.pair_id, d.user_name, d.kind, d.answer, d.reason, d.made_at
FROM decisions d ANTI JOIN decisions_taken_back t ON t.user_name = d.user_name AND t.id = d.id
WHERE d.kind IN ('accept', 'edit', 'reject') AND NOT coalesce(d.is_final, false)
QUALIFY row_number() OVER (PARTITION BY d.pair_id, d.user_name ORDER BY d.seq DESC) = 1;

CREATE VIEW labelling_overlap AS
SELECT coalesce((SELECT overlap FROM labelling_settings ORDER BY seq DESC LIMIT 1), 1) AS overlap;

-- Per pair: how many people voted, how many of them rejected, whether they tie with all votes in.
CREATE VIEW review_tallies AS
SELECT v.pair_id, count(*) AS votes, count(*) FILTER (v.kind = 'reject') AS noes,
       any_value(o.overlap) > 1 AND count(*) >= any_value(o.overlap)
           AND 2 * count(*) FILTER (v.kind = 'reject') = count(*)
           AND NOT bool_or(v.pair_id IN (
               SELECT d.pair_id FROM decisions d ANTI JOIN decisions_taken_back t
                   ON t.user_name = d.user_name AND t.id = d.id
               WHERE d.is_final AND d.kind IN ('accept', 'edit', 'reject'))) AS is_disputed
FROM review_votes v, labelling_overlap o GROUP BY v.pair_id;

-- The decision that holds for each decided pair. One vote a record: the newest decision of anybody.
-- Several: an adjudicator's newest, else the side of the majority once all votes are in; of its
-- voters the text that most left, then the newest.
CREATE OR REPLACE VIEW decisions_in_force AS
WITH standing AS (
    SELECT d.* FROM decisions d
    ANTI JOIN decisions_taken_back t ON t.user_name = d.user_name AND t.id = d.id
    WHERE d.kind IN ('accept', 'edit', 'reject')
),
candidates AS (
    SELECT s.pair_id, s.kind, s.answer, s.reason, s.user_name, s.made_at, s.seq, 0 AS rank,
           0 AS backing
    FROM standing s, labelling_overlap o WHERE o.overlap = 1 OR coalesce(s.is_final, false)
    UNION ALL
    SELECT v.pair_id, v.kind, v.answer, v.reason, v.user_name, v.made_at, v.seq, 1,
           count(*) OVER (PARTITION BY v.pair_id, CASE v.kind WHEN 'edit' THEN v.answer END)
    FROM review_votes v JOIN review_tallies t ON t.pair_id = v.pair_id, labelling_overlap o
    WHERE o.overlap > 1 AND t.votes >= o.overlap AND 2 * t.noes <> t.votes
      AND (v.kind = 'reject') = (2 * t.noes > t.votes)
)
SELECT pair_id, kind, answer, reason, user_name, made_at FROM candidates
QUALIFY row_number() OVER (PARTITION BY pair_id ORDER BY rank, backing DESC, seq DESC) = 1;

CREATE OR REPLACE VIEW votes_in_force AS
SELECT v.seq, v.user_name, v.id, v.task_id, v.outcome, v.strength, v.reason, v.made_at,
       t.seed_id, t.left_pair_id, t.right_pair_id, t.source, t.repeats,
       coalesce(t.is_final, false) AS is_final
FROM votes v JOIN comparison_tasks t ON t.id = v.task_id
     ANTI JOIN votes_taken_back b ON b.user_name = v.user_name AND b.id = v.id
WHERE v.outcome <> 'undo'
QUALIFY row_number() OVER (PARTITION BY v.user_name, v.task_id ORDER BY v.seq DESC) = 1;

-- Each person's say on two answers, whichever stood left: the id of the better one, tie, both_bad.
CREATE VIEW couple_votes AS
SELECT least(left_pair_id, right_pair_id) AS first_id,
       greatest(left_pair_id, right_pair_id) AS second_id, seed_id, user_name, is_final,
       CASE outcome WHEN 'left' THEN left_pair_id WHEN 'right' THEN right_pair_id ELSE outcome END
           AS say, seq
FROM votes_in_force WHERE source = 'person' AND repeats = '' AND outcome <> 'skip';
