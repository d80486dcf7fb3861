"""Side by side: what a vote tells of models depends on whether its voter had seen the names."""

import json
import threading

import duckdb
import pyarrow as pa
import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Message, Run, RunState
from distill_studio.core.records.comparison import (
    Answer,
    AnswerState,
    Comparison,
    ModelCard,
    Verdict,
)
from distill_studio.services.arena_votes import record_verdict
from distill_studio.services.workspace import Workspace
from distill_studio.store import evaluations, people_rows, preferences, runs
from distill_studio.store.migrate import migrate, migrations
from distill_studio.ui.panels.arena_html import arena_html

ANN = Actor(user="ann", role=Role.REVIEWER)
BOB = Actor(user="bob", role=Role.REVIEWER)


def compared(
    workspace: Workspace, *, blind: bool, models: str = "abc", number: int = 0, **versions: str
) -> str:
    """A stored comparison; its id. `versions`: the model behind a name, else the name."""
    made = Comparison(
        messages=(Message(role="user", content=f"Question {number}?"),),
        answers=tuple(
            Answer(
                card=ModelCard(id=f"base:{name}", label=name, model=versions.get(name, name)),
                text=f"Answer of {name}",
                state=AnswerState.DONE,
            )
            for name in models
        ),
        is_blind=blind,
    )
    evaluations.insert(workspace.db, made)
    return made.id


def said(workspace: Workspace) -> list[tuple[str, str]]:
    """(chosen, rejected) of the preferences."""
    rows = workspace.db.rows(
        """SELECT c.teacher AS chosen, r.teacher AS rejected FROM preferences p
        JOIN pairs c ON c.id = p.chosen_pair_id JOIN pairs r ON r.id = p.rejected_pair_id"""
    )
    return sorted((row["chosen"], row["rejected"]) for row in rows)


def recorded(workspace: Workspace) -> dict[str, bool]:
    """Whether each vote is blind, by id."""
    rows = workspace.db.rows("SELECT id, is_blind FROM votes WHERE outcome <> 'undo'")
    return {row["id"]: row["is_blind"] for row in rows}


def test_votes_with_the_names_shown_count_only_when_asked_for(
    workspace: Workspace, owner: Actor
) -> None:
    blind = compared(workspace, blind=True, models="ab")
    sighted = [compared(workspace, blind=False, models="ab", number=n) for n in (1, 2)]
    workspace.evaluate.vote(ANN, blind, "1")
    for name in sighted:
        workspace.evaluate.vote(ANN, name, "2")
    found = workspace.arena.standings(owner)
    assert (found.n, found.people_votes, found.sighted_votes, found.voters) == (1, 1, 2, {"ann": 1})
    assert {row.model: row.win_rate.value for row in found.rows} == {"a": 1.0, "b": 0.0}
    assert "1 blind; 2 cast, or changed, with the names shown are not counted" in arena_html(found)
    both = workspace.arena.standings(owner, sighted=True)
    assert (both.n, both.people_votes, both.sighted_votes, both.voters) == (3, 1, 2, {"ann": 3})
    assert both.rows[0].people_votes == 3
    assert both.rows[0].win_rate.value == pytest.approx(2 / 3)
    assert "with the names shown are counted too" in arena_html(both)
    ranking = workspace.agreement.ranking(owner)
    assert (ranking.ranking.n, ranking.people_votes, ranking.sighted_votes) == (1, 1, 2)
    assert workspace.agreement.ranking(owner, sighted=True).ranking.n == 3
    assert len(workspace.agreement.verdicts(ANN, "votes")) == 1
    person = workspace.agreement.person(ANN)
    assert (person.votes, person.sighted, person.position.share.n) == (3, 2, 1)
    assert said(workspace) == [("a", "b"), ("b", "a"), ("b", "a")]  # rows for training all the same


def test_only_sighted_votes_are_told_as_such(workspace: Workspace, owner: Actor) -> None:
    workspace.evaluate.vote(ANN, compared(workspace, blind=False), "1")
    found = workspace.arena.standings(owner)
    assert (found.rows, found.sighted_votes) == ((), 2)
    assert "No such votes" in arena_html(found)
    assert "0 blind; 2 cast" in arena_html(found)


def test_a_vote_changed_after_the_names_were_shown_is_in_no_duel_blind(
    workspace: Workspace, owner: Actor
) -> None:
    """The duel of 2 and 3 is a task that nobody has voted on before: it is not blind for that."""
    name = compared(workspace, blind=True)
    workspace.evaluate.vote(ANN, name, "1")
    assert workspace.arena.standings(owner).n == 2
    workspace.evaluate.vote(ANN, name, "1")  # the same once more changes nothing
    assert workspace.arena.standings(owner).n == 2
    workspace.evaluate.vote(ANN, name, "2")
    assert said(workspace) == [("b", "a"), ("b", "c")]
    found = workspace.arena.standings(owner)
    assert (found.n, found.sighted_votes) == (0, 2)
    assert workspace.agreement.verdicts(ANN, "votes") == []
    workspace.evaluate.vote(BOB, name, "2")  # he has seen no names
    assert workspace.arena.standings(owner).n == 2


def test_a_name_that_stood_for_two_models_is_two_contestants(
    workspace: Workspace, owner: Actor
) -> None:
    """A run trained anew under the name of a deleted one; a teacher whose model was changed."""
    for number in (1, 2):
        workspace.evaluate.vote(ANN, compared(workspace, blind=True, number=number), "1")
    assert {row.model for row in workspace.arena.standings(owner).rows} == set("abc")
    run = Run(name="a", method="sft", snapshot_id="s", state=RunState.DONE)
    runs.insert(workspace.db, run)
    late = compared(workspace, blind=True, number=3, b="b-2 at http://there")
    workspace.evaluate.vote(ANN, late, "2")
    found = {row.model: row for row in workspace.arena.standings(owner).rows}
    assert set(found) == {"a", "a (an earlier run)", "b (b)", "b (b-2)", "c"}
    assert (found["a"].win_rate.value, found["a (an earlier run)"].win_rate.value) == (0.0, 1.0)
    assert (found["b (b-2)"].n, found["b (b)"].win_rate.value) == (2, 0.0)


def test_two_votes_at_one_moment_leave_nothing_of_the_first(workspace: Workspace) -> None:
    """Both were read before either was stored: two quick keys, or two tabs."""
    name = compared(workspace, blind=True)
    before = evaluations.get(workspace.db, name, "ann")
    assert before is not None
    for number, winner in enumerate("12"):
        record_verdict(
            workspace.db, before, Verdict(winner=winner, user="ann", vote_id=f"vote-id-{number}")
        )
    assert said(workspace) == [("b", "a"), ("b", "c")]
    shown = workspace.evaluate.get(ANN, name)
    assert shown.verdict is not None
    assert shown.verdict.winner == "2"
    assert workspace.arena.standings(ANN).n == 0  # the second was cast after the names were shown
    assert preferences.out_of_step(workspace.db) == []


def test_many_votes_at_once_leave_one(workspace: Workspace) -> None:
    name = compared(workspace, blind=True)
    start = threading.Barrier(6)

    def vote(winner: str) -> None:
        start.wait(30)
        workspace.evaluate.vote(ANN, name, winner)

    threads = [threading.Thread(target=vote, args=(w,)) for w in "123123"]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    verdict = workspace.evaluate.get(ANN, name).verdict
    assert verdict is not None
    best = "abc"[int(verdict.winner) - 1]
    assert said(workspace) == [(best, other) for other in "abc" if other != best]


@pytest.fixture
def told(workspace: Workspace) -> dict[str, bool]:
    """Votes of every kind: blind, sighted, said twice, changed."""
    names = [compared(workspace, blind=n != 1, number=n) for n in range(4)]
    for name, winners in zip(names, ("1", "1", "33", "13"), strict=True):
        for winner in winners:
            workspace.evaluate.vote(ANN, name, winner)
    found = recorded(workspace)
    assert sum(found.values()) == 2 + 0 + 4 + 2
    return found


def test_what_older_versions_did_not_record_is_derived(
    workspace: Workspace, told: dict[str, bool]
) -> None:
    workspace.db.cursor().execute("UPDATE votes SET is_blind = NULL")
    preferences.fill_blindness(workspace.db)
    assert recorded(workspace) == told


def test_a_backup_of_an_older_version_comes_back_with_it(
    workspace: Workspace, told: dict[str, bool]
) -> None:
    rows = people_rows.gather(workspace.db, people_rows.Known()).rows.to_pylist()
    for row in rows:
        if row["table_name"] == "votes":
            kept = json.loads(row["row"])
            del kept["is_blind"]
            row["row"] = json.dumps(kept)
    workspace.db.cursor().execute("DELETE FROM votes")
    part = pa.Table.from_pylist(rows, schema=people_rows.PART_SCHEMA)
    assert people_rows.replay(workspace.db, part)["votes"]
    assert recorded(workspace) == told


def test_a_file_of_an_older_version_is_migrated(
    workspace: Workspace, told: dict[str, bool], tmp_path
) -> None:
    path = tmp_path / "old.duckdb"
    with duckdb.connect(str(path)) as old:
        old.execute("CREATE TABLE schema_migrations (number INTEGER PRIMARY KEY,"
                    " applied_at TIMESTAMPTZ DEFAULT now())")  # fmt: skip
        for number, sql in migrations():
            if number < 45:
                old.execute(sql)
                old.execute("INSERT INTO schema_migrations (number) VALUES (?)", [number])
        for table in ("comparisons", "comparison_votes", "comparison_tasks", "votes"):
            names = ", ".join(row[0] for row in old.execute(f"DESCRIBE {table}").fetchall())
            found = workspace.db.arrow(f"SELECT {names} FROM {table} ORDER BY ALL")  # noqa: F841
            old.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM found")
    migrate(path)
    with duckdb.connect(str(path)) as new:
        rows = new.execute("SELECT id, is_blind FROM votes WHERE outcome <> 'undo'").fetchall()
        standing = new.execute("SELECT count(*) FROM votes_in_force WHERE is_blind").fetchone()
    assert dict(rows) == told
    assert standing == (4,)
