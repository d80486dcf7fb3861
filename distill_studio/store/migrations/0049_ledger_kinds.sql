-- What a row of the ledger is where its id is no job's: a comparison asked by hand, or a scored
-- suite, whose cost is counted over all jobs that go on with it.
ALTER TABLE teacher_ledger ADD COLUMN kind VARCHAR DEFAULT '';
ALTER TABLE teacher_ledger ADD COLUMN title VARCHAR DEFAULT '';
