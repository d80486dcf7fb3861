-- What judges said of stored comparisons, two answers at a time, each read in both orders.

-- `voter` is the judge with its model: whose vote it is. `said`: left, right or tie (of the places
-- in the comparison); or unreadable and failed, where nothing could be made of its replies or none
-- came. `forward` (the left answer shown first) and `swapped`: which of the two shown the judge
-- preferred, A, B or tie; '' where it was not asked, two answers having the same words.
-- Append-only. The vote that follows is a row of preferences with source `judge`.
CREATE SEQUENCE arena_verdict_order;
CREATE TABLE arena_verdicts (
    seq BIGINT NOT NULL DEFAULT nextval('arena_verdict_order'),
    comparison_id VARCHAR NOT NULL,
    left_place INTEGER NOT NULL,
    right_place INTEGER NOT NULL,
    voter VARCHAR NOT NULL,
    judge VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    prompt_version VARCHAR NOT NULL,
    said VARCHAR NOT NULL,
    forward VARCHAR NOT NULL,
    swapped VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    preference_id VARCHAR NOT NULL,
    job_id VARCHAR NOT NULL,
    user_name VARCHAR NOT NULL,
    made_at TIMESTAMPTZ NOT NULL
);

-- The newest of each voter and two answers, a readable one where there is any.
CREATE VIEW arena_verdicts_in_force AS
SELECT * FROM arena_verdicts
QUALIFY row_number() OVER (PARTITION BY voter, comparison_id, left_place, right_place
    ORDER BY said IN ('unreadable', 'failed'), seq DESC) = 1;
