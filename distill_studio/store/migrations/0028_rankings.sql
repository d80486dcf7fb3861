-- Rankings: three or more answers of one prompt, put in order by one vote.

-- The answers in the order in which they are shown; empty where two are compared. The first two
-- also stand as left and right.
ALTER TABLE comparison_tasks ADD COLUMN pair_ids VARCHAR[] DEFAULT [];
-- The rank of each answer shown, 1 the best, equal for a tie; for the outcome 'rank'.
ALTER TABLE votes ADD COLUMN ranks INTEGER[] DEFAULT [];

-- Every two answers that a comparison sets side by side: of a ranking each two, the one that is
-- shown first as the left.
CREATE VIEW comparison_couples AS
SELECT id AS task_id, seed_id, left_pair_id, right_pair_id, 1 AS left_place, 2 AS right_place,
       user_name, source, coalesce(repeats, '') AS repeats, coalesce(is_final, false) AS is_final,
       false AS is_ranking
FROM comparison_tasks WHERE len(pair_ids) = 0
UNION ALL
SELECT t.id, t.seed_id, t.pair_ids[l.place], t.pair_ids[r.place], l.place, r.place,
       t.user_name, t.source, coalesce(t.repeats, ''), coalesce(t.is_final, false), true
FROM (SELECT * FROM comparison_tasks WHERE len(pair_ids) > 0) t
     JOIN range(1, 10) l(place) ON l.place < len(t.pair_ids)
     JOIN range(2, 10) r(place) ON r.place > l.place AND r.place <= len(t.pair_ids);

-- Each voter's newest vote on each task that is not taken back: one row for a ranking.
CREATE VIEW votes_standing AS
SELECT v.* FROM votes v
     ANTI JOIN votes_taken_back b ON b.user_name = v.user_name AND b.id = v.id
WHERE v.outcome <> 'undo'
QUALIFY row_number() OVER (PARTITION BY v.user_name, v.task_id ORDER BY v.seq DESC) = 1;

-- What it says of each two answers: one row for two of them, one for every two of a ranking, all
-- under the id of the vote.
CREATE OR REPLACE VIEW votes_in_force AS
SELECT v.seq, v.user_name, v.id, v.task_id,
       CASE WHEN v.outcome <> 'rank' THEN v.outcome
            WHEN v.ranks[c.left_place] < v.ranks[c.right_place] THEN 'left'
            WHEN v.ranks[c.left_place] > v.ranks[c.right_place] THEN 'right'
            ELSE 'tie' END AS outcome,
       v.strength, v.reason, v.made_at, c.seed_id, c.left_pair_id, c.right_pair_id, c.source,
       c.repeats, c.is_final, c.is_ranking
FROM votes_standing v JOIN comparison_couples c ON c.task_id = v.task_id;
