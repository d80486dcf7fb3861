-- Agreement with the teacher, and a judge's scores by a rubric.

ALTER TABLE suite_trials ADD COLUMN judge VARCHAR DEFAULT '';
ALTER TABLE suite_trials ADD COLUMN judge_model VARCHAR DEFAULT '';
ALTER TABLE suite_trials ADD COLUMN judge_warning VARCHAR DEFAULT '';
ALTER TABLE suite_trials ADD COLUMN rubric JSON DEFAULT '{}';

-- Per token, in nats: how far from the teacher, and the loss on the reference. What a judge wrote.
ALTER TABLE suite_answers ADD COLUMN kl DOUBLE;
ALTER TABLE suite_answers ADD COLUMN loss DOUBLE;
ALTER TABLE suite_answers ADD COLUMN judged VARCHAR DEFAULT '';
