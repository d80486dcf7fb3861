"""Search in pairs: prompt, answer and edit, any case; old stores get the column filled."""

import duckdb

from distill_studio.core.records import Message, Pair
from distill_studio.store import pairs
from distill_studio.store.database import Database
from distill_studio.store.migrate import migrations
from distill_studio.store.pairs import PairQuery


def pair(prompt: str, answer: str) -> Pair:
    return Pair(seed_id=prompt, messages=(Message(role="user", content=prompt),), answer=answer)


def found(db: Database, search: str) -> list[str]:
    return [p.answer for p in pairs.page(db, PairQuery(search=search))]


def test_search_looks_in_prompt_answer_and_edit_in_any_case(workspace, owner):
    db = workspace.db
    made = [pair("Why is the SKY blue?", "Scattering."), pair("Straße?", "Ein Weg. 100%_sure")]
    pairs.insert(db, made)
    assert found(db, "sky") == found(db, "SCATTER") == ["Scattering."]
    assert found(db, "STRAßE") == found(db, "%_SURE") == ["Ein Weg. 100%_sure"]
    assert found(db, "s%y") == found(db, "blue?Scattering") == []
    decision = {"id": "decision-1", "pair_id": made[0].id, "kind": "edit", "answer": "Rayleigh."}
    from distill_studio.core.records import Decision

    workspace.review.decide(owner, [Decision(**decision)])
    assert found(db, "rayLEIGH") == ["Scattering."]
    assert pairs.count(db, PairQuery(search="rayleigh")) == 1


def test_rows_from_before_the_column_are_found(tmp_path):
    path = tmp_path / "studio.duckdb"
    old = duckdb.connect(str(path))
    old.execute(
        "CREATE TABLE schema_migrations"
        " (number INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ DEFAULT now())"
    )
    for number, sql in migrations():
        if number < 9:
            old.execute(sql)
            old.execute("INSERT INTO schema_migrations (number) VALUES (?)", [number])
    old.execute(
        "INSERT INTO pairs (id, seed_id, messages, prompt, answer, content_hash, created_at) VALUES"
        """ ('1', 's', '[{"role": "user", "content": "Old"}]', 'Old', 'Words', 'h', now())"""
    )
    old.close()
    db = Database(path)
    assert found(db, "oLD") == found(db, "words") == ["Words"]
    db.close()
