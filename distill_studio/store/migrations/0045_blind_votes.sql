-- Whether a vote was cast blind: before its voter was told who wrote which answer. Recorded with the
-- vote; NULL only until what older versions stored has been derived below (a backup of theirs may
-- bring such votes later).
ALTER TABLE votes ADD COLUMN is_blind BOOLEAN;

-- What can be derived. Names are shown after the first vote, so that a vote is blind where no earlier
-- one of that person on the same comparison says otherwise: in Prefer on two answers or a ranking,
-- side by side on all answers at once, and there only where names were hidden at all.
CREATE VIEW votes_blindness AS
WITH said AS (
    SELECT user_name, id, task_id, seq, concat(outcome, ranks::VARCHAR) AS say
    FROM votes WHERE outcome NOT IN ('skip', 'undo')
), bench AS (
    SELECT user_name, id,
           coalesce(min(say) OVER earlier = say AND max(say) OVER earlier = say, true) AS is_blind
    FROM said
    WINDOW earlier AS (PARTITION BY user_name, task_id ORDER BY seq
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), verdicts AS (
    SELECT v.user_name, v.id, c.is_blind AND coalesce(
        min(v.winner) OVER earlier = v.winner AND max(v.winner) OVER earlier = v.winner, true
    ) AS is_blind
    FROM comparison_votes v JOIN comparisons c ON c.id = v.comparison_id
    WINDOW earlier AS (PARTITION BY v.user_name, v.comparison_id ORDER BY v.seq
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
)
SELECT v.user_name, v.id,
       CASE t.source WHEN 'arena' THEN coalesce(a.is_blind, false)
                     ELSE coalesce(b.is_blind, true) END AS is_blind
FROM votes v
     JOIN comparison_tasks t ON t.id = v.task_id
     LEFT JOIN bench b ON b.user_name = v.user_name AND b.id = v.id
     LEFT JOIN verdicts a ON a.user_name = v.user_name
        AND a.id = regexp_replace(v.id, '-(\d\d|u\d+)$', '');

UPDATE votes SET is_blind = b.is_blind FROM votes_blindness b
WHERE b.user_name = votes.user_name AND b.id = votes.id AND votes.is_blind IS NULL;

-- The same as before, with the new column.
CREATE OR REPLACE VIEW votes_standing AS
SELECT v.* FROM votes v
     ANTI JOIN votes_taken_back b ON b.user_name = v.user_name AND b.id = v.id
WHERE v.outcome <> 'undo'
QUALIFY row_number() OVER (PARTITION BY v.user_name, v.task_id ORDER BY v.seq DESC) = 1;

CREATE OR REPLACE VIEW votes_in_force AS
SELECT v.seq, v.user_name, v.id, v.task_id,
       CASE WHEN v.outcome <> 'rank' THEN v.outcome
            WHEN v.ranks[c.left_place] < v.ranks[c.right_place] THEN 'left'
            WHEN v.ranks[c.left_place] > v.ranks[c.right_place] THEN 'right'
            ELSE 'tie' END AS outcome,
       v.strength, v.reason, v.made_at, c.seed_id, c.left_pair_id, c.right_pair_id, c.source,
       c.repeats, c.is_final, c.is_ranking, v.is_blind
FROM votes_standing v JOIN comparison_couples c ON c.task_id = v.task_id;
