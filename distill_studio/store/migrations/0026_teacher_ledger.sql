-- What each job asked of each teacher, whatever became of the replies: useless ones cost as well.
-- Written in the transaction that stores the replies.
CREATE TABLE teacher_ledger (
    job_id VARCHAR NOT NULL,
    teacher VARCHAR NOT NULL,
    requests BIGINT NOT NULL,
    untold BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    busy_s DOUBLE NOT NULL,
    cost_usd DOUBLE,
    failures JSON NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (job_id, teacher)
);

-- What older jobs stored is all that is known of them.
INSERT INTO teacher_ledger
WITH asked AS (
    SELECT job_id, teacher, TRY_CAST(reply->>'prompt_tokens' AS BIGINT) AS prompt_tokens,
        TRY_CAST(reply->>'completion_tokens' AS BIGINT) AS completion_tokens, created_at
    FROM generation_steps
    UNION ALL
    SELECT job_id, teacher, prompt_tokens, completion_tokens, created_at FROM pairs
    WHERE job_id <> '' AND job_id NOT IN (SELECT job_id FROM generation_steps)
),
spent AS (
    SELECT id AS job_id, TRY_CAST(result->'spent_usd' AS MAP(VARCHAR, DOUBLE)) AS usd FROM jobs
)
SELECT a.job_id, a.teacher, count(*), count(*) FILTER (a.completion_tokens IS NULL),
    coalesce(sum(a.prompt_tokens), 0)::BIGINT, coalesce(sum(a.completion_tokens), 0)::BIGINT,
    0, any_value(s.usd[a.teacher]), '{}', max(a.created_at)
FROM asked a JOIN spent s USING (job_id)
GROUP BY a.job_id, a.teacher;

-- The teacher whose key a job waits for.
ALTER TABLE jobs ADD COLUMN waits_for VARCHAR DEFAULT '';
