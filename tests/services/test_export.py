"""Exports: the selection exactly, and a way back in."""

import json
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import Message, Pair, PairStatus, Preference, Seed
from distill_studio.core.settings import Settings
from distill_studio.freeze.formats import STYLES
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs, preferences, seeds
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery

# Any text a person or model can write: all of Unicode but lone surrogates.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
CONVERSATIONS = st.lists(
    st.tuples(
        st.none() | TEXT,  # system prompt
        st.lists(st.tuples(TEXT, TEXT), max_size=2),  # earlier turns
        TEXT,  # the question
        TEXT,  # the answer
    ),
    min_size=1,
    max_size=6,
)


def stored(workspace: Workspace, made: list[tuple]) -> list[Pair]:
    asked = [Seed(messages=_messages(*parts[:3])) for parts in made]
    ids = seeds.insert(workspace.db, asked)
    found = [
        Pair(
            seed_id=ids[seed.id],
            messages=seed.messages,
            answer=parts[3],
            sample=number,
            topic="t",
            teacher="T",
            reasoning="r",
        )
        for number, (seed, parts) in enumerate(zip(asked, made, strict=True))
    ]
    pairs.insert(workspace.db, found)
    return found


def _messages(system: str | None, earlier: list[tuple], question: str) -> tuple[Message, ...]:
    messages = [Message(role="system", content=system)] if system else []
    for asked, answered in earlier:
        messages.append(Message(role="user", content=asked))
        messages.append(Message(role="assistant", content=answered))
    return (*messages, Message(role="user", content=question))


def said(workspace: Workspace) -> list[tuple]:
    found = pairs.page(workspace.db, PairQuery(limit=1000))
    return sorted((p.content_hash, p.messages, p.answer, p.topic, p.teacher) for p in found)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    made=CONVERSATIONS,
    style=st.sampled_from(sorted(STYLES)),
    table=st.sampled_from(["jsonl", "parquet"]),
)
def test_export_and_import_give_the_same_conversations(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple], style: str, table: str
) -> None:
    owner = Actor(user="owner", role=Role.OWNER)
    studio = build_studio(Settings(home=tmp_path_factory.mktemp("home"), port=0))
    try:
        one, two = (studio.workspace(name, create=True) for name in ("one", "two"))
        stored(one, made)
        file = one.export.pairs(owner, table, style=style)
        upload_id = studio.uploads.add(one.folder / "exports" / file.name)
        report = two.seeds.import_file(owner, upload_id)
        assert report.counts.problems == []
        assert file.rows == report.counts.pairs_new == len(made)
        assert said(two) == said(one)
    finally:
        studio.close()


def simple(workspace: Workspace, count: int) -> list[Pair]:
    return stored(workspace, [(None, [], f"q{n}", f"a{n}") for n in range(count)])


def lines(workspace: Workspace, name: str) -> list[dict]:
    text = (workspace.folder / "exports" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_selection_is_respected_exactly(workspace: Workspace, owner: Actor) -> None:
    made = simple(workspace, 1205)
    workspace.db.cursor().execute(
        "UPDATE pairs SET status = 'accepted', edited_answer = 'new' WHERE answer LIKE 'a1%'"
    )
    query = PairQuery(status=PairStatus.ACCEPTED, after=made[-1].id, limit=1, newest_first=True)
    file = workspace.export.pairs(owner, query=query)
    rows = lines(workspace, file.name)
    assert {row["id"] for row in rows} == {p.id for p in made if p.answer.startswith("a1")}
    assert {row["messages"][-1]["content"] for row in rows} == {"new"}
    some = workspace.export.pairs(owner, ids=[made[3].id, made[700].id])
    assert [row["id"] for row in lines(workspace, some.name)] == [made[3].id, made[700].id]
    everything = workspace.export.pairs(owner, "parquet")
    table = pq.read_table(workspace.folder / "exports" / everything.name)
    assert table.num_rows == everything.rows == 1205


def test_nothing_to_export_leaves_no_file(workspace: Workspace, owner: Actor) -> None:
    with pytest.raises(InvalidInput, match="nothing to export"):
        workspace.export.pairs(owner)
    assert list((workspace.folder / "exports").iterdir()) == []


def test_preferences_come_back_with_their_outcome(workspace: Workspace, owner: Actor) -> None:
    first = simple(workspace, 3)
    other = [
        p.model_copy(update={"id": f"x{p.id}"[:36], "sample": 9, "answer": "z"}) for p in first
    ]
    pairs.insert(workspace.db, other)
    outcomes = ["win", "tie", "both_bad"]
    preferences.insert(
        workspace.db,
        [
            Preference(seed_id=a.seed_id, chosen_pair_id=a.id, rejected_pair_id=b.id,
                       outcome=o, source="person")
            for a, b, o in zip(first, other, outcomes, strict=True)
        ],
    )  # fmt: skip
    wins = workspace.export.preferences(owner, query=PreferenceQuery(outcome="win"))
    assert [row["chosen"][0]["content"] for row in lines(workspace, wins.name)] == ["a0"]
    file = workspace.export.preferences(owner, "parquet")
    target = workspace.studio.workspace("other", create=True)
    upload_id = workspace.studio.uploads.add(workspace.folder / "exports" / file.name)
    assert target.seeds.import_file(owner, upload_id).counts.preferences == 3
    made = preferences.page(target.db, PreferenceQuery())
    assert sorted(p.outcome for p in made) == sorted(outcomes)


def test_a_preview_is_what_is_then_written(workspace: Workspace, owner: Actor) -> None:
    made = simple(workspace, 5)
    workspace.db.cursor().execute("UPDATE pairs SET status = 'accepted' WHERE answer <> 'a0'")
    query = PairQuery(status=PairStatus.ACCEPTED)
    seen = workspace.export.preview_pairs(owner, query, "alpaca", include_reasoning=True)
    file = workspace.export.pairs(owner, "jsonl", query, "alpaca", include_reasoning=True)
    assert (seen.rows, file.rows) == (4, 4)
    assert seen.first == lines(workspace, file.name)[:3]
    assert list(seen.first[0]) == list(lines(workspace, file.name)[0])

    for number, outcome in enumerate(("win", "win", "tie")):
        one = Preference(
            seed_id=made[0].seed_id, chosen_pair_id=made[number].id,
            rejected_pair_id=made[4].id, outcome=outcome, source="person",
        )  # fmt: skip
        preferences.insert(workspace.db, [one])
    for outcome, count in (("win", 2), ("tie", 1), ("", 3)):
        wanted = PreferenceQuery(outcome=outcome)
        seen = workspace.export.preview_preferences(owner, wanted)
        file = workspace.export.preferences(owner, query=wanted)
        assert (seen.rows, file.rows) == (count, count)
        assert seen.first == lines(workspace, file.name)
    none = workspace.export.preview_preferences(owner, PreferenceQuery(outcome="both_bad"))
    assert (none.rows, none.first) == (0, [])


def test_snapshots_as_zip_and_rows(workspace: Workspace, owner: Actor, tmp_path: Path) -> None:
    simple(workspace, 12)
    workspace.db.cursor().execute("UPDATE pairs SET status = 'accepted'")
    workspace.freeze.create(owner, "first")
    packed = workspace.export.snapshot(owner, "first")
    with zipfile.ZipFile(workspace.folder / "exports" / packed.name) as archive:
        assert sorted(archive.namelist()) == [
            "first/README.md", "first/manifest.json", "first/train.parquet",
            "first/validation.parquet",
        ]  # fmt: skip
    rows = lines(workspace, workspace.export.snapshot(owner, "first", "jsonl").name)
    assert [row["split"] for row in rows].count("validation") == 1
    assert workspace.export.snapshot(owner, "first", "parquet").rows == 12
    assert [f.name for f in workspace.export.page(owner)][-1] == packed.name
    workspace.export.delete(owner, packed.name)
    with pytest.raises(NotFound):
        workspace.export.delete(owner, "../studio.duckdb")
    assert len(workspace.export.page(owner)) == 2
