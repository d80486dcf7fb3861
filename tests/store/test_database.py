"""The open file: transactions, threads, migrations."""

import threading
from datetime import UTC, datetime

import duckdb
import pytest

from distill_studio.core.records import Message, Pair, Seed
from distill_studio.store import pairs, seeds
from distill_studio.store.database import Database
from distill_studio.store.migrate import migrations


def make_pair(seed: Seed, answer: str, **fields) -> Pair:
    return Pair(seed_id=seed.id, messages=seed.messages, answer=answer, **fields)


def make_seed(text: str) -> Seed:
    return Seed(messages=(Message(role="user", content=text),))


@pytest.fixture
def db(tmp_path):
    database = Database(tmp_path / "studio.duckdb")
    yield database
    database.close()


def test_a_failed_transaction_leaves_nothing(db):
    with pytest.raises(RuntimeError), db.write():
        seeds.insert(db, [make_seed("a")])
        raise RuntimeError
    assert seeds.count(db) == 0
    seeds.insert(db, [make_seed("a")])
    assert seeds.count(db) == 1


def test_equal_conversations_are_one_seed(db):
    first, same = make_seed("a"), make_seed("a")
    ids = seeds.insert(db, [first, same, make_seed("b")])
    assert ids[same.id] == first.id
    assert seeds.insert(db, [make_seed("a")]) != {}
    assert seeds.count(db) == 2


def test_equal_samples_of_one_seed_are_two_rows_but_one_request_is_one(db):
    seed = make_seed("q")
    seeds.insert(db, [seed])
    made = [make_pair(seed, "same", job_id="j", sample=n) for n in range(2)]
    assert pairs.insert(db, made) == 2
    assert pairs.insert(db, [make_pair(seed, "again", job_id="j", sample=1)]) == 0
    assert pairs.counts(db)["total"] == 2


@pytest.mark.parametrize("count", [3, 200])  # executemany, and the Arrow path
def test_both_insert_paths_keep_every_value(db, count):
    seed = make_seed("Ünïcode “quotes” ${x}")
    seeds.insert(db, [seed])
    made = [
        make_pair(seed, f"a{n}\n\x00b", job_id="j", sample=n, latency_ms=None if n % 2 else n)
        for n in range(count)
    ]
    pairs.insert(db, made)
    assert pairs.page(db, pairs.PairQuery(limit=1000)) == made


def test_many_threads_write_at_once_without_loss(db):
    seed = make_seed("q")
    seeds.insert(db, [seed])

    def work(number: int) -> None:
        for n in range(20):
            pairs.insert(db, [make_pair(seed, "a", job_id=str(number), sample=n)])
            pairs.counts(db)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pairs.counts(db)["total"] == 120


def test_pages_follow_the_keyset_without_gap_or_repeat(db):
    seed = make_seed("q")
    seeds.insert(db, [seed])
    made = [make_pair(seed, f"answer {n}", job_id="j", sample=n) for n in range(25)]
    pairs.insert(db, made)
    for newest_first in (False, True):
        seen, after = [], ""
        while rows := pairs.page(
            db, pairs.PairQuery(after=after, limit=7, newest_first=newest_first)
        ):
            seen += [row.id for row in rows]
            after = rows[-1].id
        expected = [pair.id for pair in made]
        assert seen == (expected[::-1] if newest_first else expected)


def test_an_old_file_is_copied_before_it_is_migrated(tmp_path, monkeypatch):
    path = tmp_path / "studio.duckdb"
    everything = migrations()
    monkeypatch.setattr("distill_studio.store.migrate.migrations", lambda: everything[:1])
    old = Database(path)
    seeds.insert(old, [make_seed("kept")])
    old.close()
    monkeypatch.setattr("distill_studio.store.migrate.migrations", lambda: everything)
    new = Database(path)
    assert seeds.count(new) == 1
    new.close()
    copies = list(tmp_path.glob("studio.duckdb.before-*"))
    assert len(copies) == 1
    with duckdb.connect(str(copies[0]), read_only=True) as copy:
        assert copy.execute("SELECT count(*) FROM seeds").fetchall() == [(1,)]


def test_old_pairs_get_the_source_of_their_prompt(tmp_path, monkeypatch):
    path = tmp_path / "studio.duckdb"
    everything = migrations()
    before = [one for one in everything if one[0] < 53]
    monkeypatch.setattr("distill_studio.store.migrate.migrations", lambda: before)
    old = Database(path)
    asked = make_seed("asked").model_copy(update={"source": "a.jsonl"})
    bare, new = make_seed("bare"), make_seed("new").model_copy(update={"source": "evol"})
    seeds.insert(old, [asked, bare, new])
    evol = {"recipe": "evol", "source": "evol"}
    made = {
        "plain": make_pair(asked, "plain", recipe="answer", source="answer", job_id="j"),
        "of a new prompt": make_pair(new, "n", **evol, params={"from_seed": asked.id}),
        "from no source": make_pair(new, "b", **evol, params={"from_seed": bare.id}, sample=1),
        "from a gone one": make_pair(new, "g", **evol, params={"from_seed": "gone"}, sample=2),
        "imported": make_pair(asked, "i", recipe="import", source="b.jsonl"),
        "compared": make_pair(asked, "c", recipe="compare", source="arena", sample=1),
    }
    pairs.insert(old, list(made.values()))
    old.close()
    monkeypatch.setattr("distill_studio.store.migrate.migrations", lambda: everything)
    db = Database(path)
    found = {pair.id: pair.source for pair in pairs.get(db, [pair.id for pair in made.values()])}
    db.close()
    assert {name: found[pair.id] for name, pair in made.items()} == {
        "plain": "a.jsonl",
        "of a new prompt": "a.jsonl",
        "from no source": "generated",
        "from a gone one": "generated",
        "imported": "b.jsonl",
        "compared": "arena",
    }


def test_times_come_back_aware_in_utc(db):
    seed = make_seed("q")
    seeds.insert(db, [seed])
    (stored,) = seeds.page(db)
    assert stored.created_at == seed.created_at
    assert stored.created_at.utcoffset() == datetime.now(UTC).utcoffset()


def test_a_limit_holds_over_a_join_with_nothing(db):
    seeds.insert(db, [make_seed(str(n)) for n in range(12)])
    query = """SELECT s.id FROM seeds s LEFT JOIN jobs j ON j.id = s.id AND j.kind = 'none'
        ORDER BY s.id LIMIT ?"""
    in_threads = []
    for work in (lambda: in_threads.append(len(db.rows(query, [5]))),) * 2:
        thread = threading.Thread(target=work)  # a cursor of its own
        thread.start()
        thread.join()
    assert [len(db.rows(query, [5])), *in_threads] == [5, 5, 5]
    assert len(db.rows(query.replace("ORDER BY s.id", ""), [5])) == 5


def test_closing_waits_for_a_statement_of_another_thread(tmp_path):
    db = Database(tmp_path / "studio.duckdb")
    db.cursor().execute("SELECT 1")
    counted = []

    runs, go_on = threading.Event(), threading.Event()

    def held(number: int) -> int:
        runs.set()
        go_on.wait(60)
        return number

    def count():
        db.cursor().create_function("held", held, [int], int)
        counted.append(db.value("SELECT held(7)"))

    thread = threading.Thread(target=count)
    thread.start()
    assert runs.wait(60)
    threading.Timer(0.2, go_on.set).start()
    db.close()
    thread.join(60)
    assert counted == [7]
