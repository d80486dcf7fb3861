"""Benchmark runs and scores in the store: what is newest, what is alike."""

import pytest

from distill_studio.core.records.benchmark import BenchmarkRun, BenchmarkScore, BenchmarkSettings
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.run import RunState
from distill_studio.store import benchmarks as table
from distill_studio.store.database import Database

CARDS = {
    role.value: ModelCard(id=f"{role.value}:m", label=f"my {role.value}", role=role)
    for role in ModelRole
}


@pytest.fixture
def db(tmp_path):
    database = Database(tmp_path / "studio.duckdb")
    yield database
    database.close()


def score(task: str, value: float, **fields: object) -> BenchmarkScore:
    given = {"metric": "acc", "stderr": 0.01, "n": 100, "total": 100, "shots": 0} | fields
    return BenchmarkScore(task=task, value=value, **given)


def run(db: Database, who: str, scores: list[BenchmarkScore], **fields: object) -> BenchmarkRun:
    settings = BenchmarkSettings(limit=fields.pop("limit", 0))
    given = {"state": RunState.DONE, "facts": {"packages": {"lm_eval": "0.4.13"}}} | fields
    tasks = tuple({one.task for one in scores}) or ("arc",)
    made = BenchmarkRun(model=CARDS[who], tasks=tasks, settings=settings, **given)
    table.insert(db, made)
    table.add_scores(db, made.id, scores)
    return made


def test_what_is_stored_comes_back_whole(db):
    given = [
        score("arc", 0.5, place=0, fingerprint="f", version="1.0"),
        score("arc", 0.6, place=1, metric="acc_norm", stderr=None, shots=None),
        score("arc", 0.7, place=2, metric="acc_norm", filter="x", is_higher_better=False),
    ]
    made = run(db, "student", given, user="ann", pid=7, pid_started=1.5)
    assert table.get(db, made.id) == made
    assert table.scores(db, made.id) == given
    table.update(db, made.id, state=RunState.FAILED, error="no", facts={"a": 1})
    found = table.get(db, made.id)
    assert found
    assert (found.state, found.error, found.facts) == (RunState.FAILED, "no", {"a": 1})
    table.add_scores(db, made.id, given[:1])
    assert table.scores(db, made.id) == given[:1]
    table.delete(db, made.id)
    assert table.get(db, made.id) is None
    assert table.scores(db, made.id) == []


def test_many_scores_at_once(db):
    given = [score(f"mmlu_{at}", at / 100, place=at, stderr=None) for at in range(90)]
    made = run(db, "base", given)
    assert table.scores(db, made.id) == given


def test_pages_follow_the_id(db):
    made = [run(db, who, []) for who in ("base", "student", "student")]
    assert [one.id for one in table.page(db, limit=2)] == [made[2].id, made[1].id]
    assert [one.id for one in table.page(db, after=made[1].id)] == [made[0].id]
    assert [one.id for one in table.page(db, model="base:m")] == [made[0].id]


def test_each_task_of_a_model_counts_as_last_measured_in_the_same_way(db):
    old = run(db, "student", [score("arc", 0.1), score("gsm8k", 0.2)])
    new = run(db, "student", [score("arc", 0.3)])
    run(db, "student", [score("arc", 0.9)], state=RunState.FAILED)
    smoke = run(db, "student", [score("arc", 1.0, n=5)], limit=5)
    base = run(db, "base", [score("arc", 0.4)])
    found = table.newest_of(db, old.settings.key)
    assert {(one, s.task, s.value) for one, s in found} == {
        (old.id, "gsm8k", 0.2), (new.id, "arc", 0.3), (base.id, "arc", 0.4),
    }  # fmt: skip
    ways = table.settings_in_use(db)
    assert [row["settings_key"] for row in ways] == [old.settings.key, smoke.settings.key]
    assert [row["models"] for row in ways] == [2, 1]
