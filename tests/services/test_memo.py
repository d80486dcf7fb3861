"""Answers hold until the store changes."""

import pytest

from distill_studio.core.records import Job, JobState
from distill_studio.core.records.base import utc_now
from distill_studio.services.memo import Memo
from distill_studio.store import jobs, leases
from distill_studio.store.database import Database


@pytest.fixture
def db(tmp_path):
    db = Database(tmp_path / "studio.duckdb")
    with db.write() as cursor:
        cursor.execute("CREATE TABLE t (n INTEGER)")
    yield db
    db.close()


def add(db):
    with db.write() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")


def count(db):
    return db.value("SELECT count(*) FROM t")


def test_an_answer_is_made_once_until_a_write(db):
    memo, made = Memo(db), []

    def make():
        made.append(1)
        return count(db)

    assert [memo.get("k", make), memo.get("k", make)] == [0, 0]
    assert len(made) == 1
    add(db)
    assert memo.get("k", make) == 1
    assert len(made) == 2


def test_a_rolled_back_write_forgets_nothing(db):
    memo = Memo(db)
    assert memo.get("k", lambda: "first") == "first"
    with pytest.raises(RuntimeError), db.write():
        raise RuntimeError
    assert memo.get("k", lambda: "second") == "first"


def test_a_quiet_write_forgets_nothing_unless_something_else_is_written_with_it(db):
    memo = Memo(db)
    assert memo.get("k", lambda: "first") == "first"
    with db.write(is_quiet=True):
        db.insert("t", [{"n": 2}], is_quiet=True)
    assert memo.get("k", lambda: "second") == "first"
    with db.write(is_quiet=True):
        add(db)
        db.insert("t", [{"n": 3}], is_quiet=True)
    assert memo.get("k", lambda: "second") == "second"


def test_the_progress_of_jobs_and_leases_forget_nothing(db):
    job = Job(kind="measure", title="Measure", user="ada")
    jobs.insert(db, job)
    memo = Memo(db)
    assert memo.get("k", lambda: "first") == "first"
    now = utc_now()
    jobs.update(db, job.id, done=1, total=2, note="measuring")
    jobs.log(db, job.id, "said")
    leases.take(db, "review", "ada", ["p"], now)
    leases.forget_old(db, now)
    assert memo.get("k", lambda: "second") == "first"
    assert (jobs.get(db, job.id).done, len(jobs.events(db, job.id))) == (1, 1)
    jobs.update(db, job.id, state=JobState.DONE, result={"rows": 1})
    assert memo.get("k", lambda: "second") == "second"


def test_what_was_overtaken_by_a_write_is_not_kept(db):
    memo = Memo(db)

    def slow():
        found = count(db)
        add(db)
        return found

    assert memo.get("k", slow) == 0
    assert memo.get("k", lambda: count(db)) == 1


def test_only_the_latest_used_are_kept(db):
    memo = Memo(db, size=2)
    for key in ("a", "b", "a", "c"):
        memo.get(key, lambda key=key: key)
    assert memo.get("a", lambda: "new") == "a"
    assert memo.get("b", lambda: "new") == "new"
