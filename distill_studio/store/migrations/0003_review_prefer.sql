-- Bulk decisions undo as one; an undo can itself be undone; comparisons may be repeats.

ALTER TABLE decisions ADD COLUMN bulk_id VARCHAR DEFAULT '';

-- Decisions whose newest undo (or undo of an undo, and so on) takes them back.
CREATE VIEW decisions_taken_back AS
WITH RECURSIVE chain AS (
    SELECT u.user_name, t.id AS root, u.id, u.seq, 1 AS depth
    FROM decisions u JOIN decisions t ON t.user_name = u.user_name AND t.id = u.undoes
    WHERE u.kind = 'undo' AND t.kind <> 'undo'
    UNION ALL
    SELECT u.user_name, c.root, u.id, u.seq, c.depth + 1
    FROM decisions u JOIN chain c ON u.user_name = c.user_name AND u.undoes = c.id
    WHERE u.kind = 'undo'
)
SELECT user_name, root AS id FROM chain
GROUP BY user_name, root HAVING arg_max(depth, seq) % 2 = 1;

CREATE OR REPLACE VIEW decisions_in_force AS
SELECT d.pair_id, d.kind, d.answer, d.reason, d.user_name, d.made_at
FROM decisions d ANTI JOIN decisions_taken_back t ON t.user_name = d.user_name AND t.id = d.id
WHERE d.kind IN ('accept', 'edit', 'reject')
QUALIFY row_number() OVER (PARTITION BY d.pair_id ORDER BY d.seq DESC) = 1;

-- The same comparison again with the sides swapped: measures the voter, makes no preference.
ALTER TABLE comparison_tasks ADD COLUMN repeats VARCHAR DEFAULT '';

CREATE VIEW votes_taken_back AS
WITH RECURSIVE chain AS (
    SELECT u.user_name, t.id AS root, u.id, u.seq, 1 AS depth
    FROM votes u JOIN votes t ON t.user_name = u.user_name AND t.id = u.undoes
    WHERE u.outcome = 'undo' AND t.outcome <> 'undo'
    UNION ALL
    SELECT u.user_name, c.root, u.id, u.seq, c.depth + 1
    FROM votes u JOIN chain c ON u.user_name = c.user_name AND u.undoes = c.id
    WHERE u.outcome = 'undo'
)
SELECT user_name, root AS id FROM chain
GROUP BY user_name, root HAVING arg_max(depth, seq) % 2 = 1;

-- Each voter's newest vote on each task that is not taken back.
CREATE VIEW votes_in_force AS
SELECT v.seq, v.user_name, v.id, v.task_id, v.outcome, v.strength, v.reason, v.made_at,
       t.seed_id, t.left_pair_id, t.right_pair_id, t.source, t.repeats
FROM votes v JOIN comparison_tasks t ON t.id = v.task_id
     ANTI JOIN votes_taken_back b ON b.user_name = v.user_name AND b.id = v.id
WHERE v.outcome <> 'undo'
QUALIFY row_number() OVER (PARTITION BY v.user_name, v.task_id ORDER BY v.seq DESC) = 1;

CREATE INDEX decisions_by_pair ON decisions (pair_id);
CREATE INDEX votes_by_task ON votes (task_id);
