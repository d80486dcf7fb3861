"""A snapshot of preferences contradicts neither the majority nor what waits to be settled."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Message, Pair, Preference, Vote
from distill_studio.core.records.labelling import LabellingSettings
from distill_studio.prefer.majority import Say, verdict
from distill_studio.services.workspace import Workspace
from distill_studio.store import comparisons, pairs, preferences
from distill_studio.store.pairs import PairQuery

PEOPLE = {
    name: Actor(user=name, role=Role.OWNER if name == "owner" else Role.REVIEWER)
    for name in ("ann", "bob", "cem", "dan", "owner")
}
SAYS = {"good": "left", "bad": "right", "tie": "tie", "both_bad": "both_bad"}


def couple(workspace: Workspace) -> tuple[Pair, Pair]:
    """Two answers of different teachers to one prompt."""
    number = uuid4().hex
    good, bad = (
        Pair(
            seed_id=number,
            messages=(Message(role="user", content=f"question {number}"),),
            answer=f"{kind} {number}",
            sample=n,
            job_id="job",
            teacher=f"teacher {kind}",
        )
        for n, kind in enumerate(("good", "bad"))
    )
    pairs.insert(workspace.db, [good, bad])
    return good, bad


def vote(workspace: Workspace, two: tuple[Pair, Pair], who: str, said: str, n: int = 0) -> None:
    """A person's vote, or with `!` an adjudicator's, the good answer left for every second one."""
    left, right = two if n % 2 == 0 else two[::-1]
    outcome = SAYS[said.removesuffix("!")]
    if n % 2 and outcome in ("left", "right"):
        outcome = {"left": "right", "right": "left"}[outcome]
    task = {
        "id": str(uuid4()),
        "seed_id": left.seed_id,
        "left_pair_id": left.id,
        "right_pair_id": right.id,
        "user_name": who,
        "is_final": said.endswith("!"),
    }
    preferences.add_tasks(workspace.db, [task])
    made = Vote(id=str(uuid4()), task_id=task["id"], outcome=outcome)
    assert workspace.prefer.vote(PEOPLE[who], [made]).stored


def frozen(workspace: Workspace, query: PairQuery | None = None) -> tuple[list[str], dict]:
    """(the chosen answers, the others by reason) of a snapshot made now."""
    owner, name = PEOPLE["owner"], f"s{uuid4().hex[:8]}"
    preview = workspace.freeze.preview(owner, format="preference", query=query)
    if not preview.rows:
        with pytest.raises(InvalidInput):
            workspace.freeze.create(owner, name, "preference", query=query)
        return [], preview.left_out
    made = workspace.freeze.create(owner, name, "preference", query=query)
    rows = [
        row["chosen"][0]["content"].split()[0]
        for split in ("train", "validation")
        for row in workspace.freeze.rows(owner, name, split)
    ]
    return rows, made.manifest["counts"]["left_out"]


@pytest.mark.parametrize(
    ("overlap", "said", "chosen", "left_out"),
    [
        (3, "good both_bad both_bad", [], {"no winner (both bad)": 2, "outvoted": 1}),
        (2, "good tie", [], {"voters disagree evenly": 2}),
        (3, "good", [], {"votes missing": 1}),
        (2, "good good", ["good"], {"same comparison voted again": 1}),
        (3, "bad good good", ["good"], {"outvoted": 1, "same comparison voted again": 1}),
        (2, "good bad bad!", ["bad"], {"settled by an adjudicator": 2}),
        (3, "good tie!", [], {"settled by an adjudicator": 1, "no winner (tie)": 1}),
        (1, "good", ["good"], {}),
    ],
)
def test_the_majority_is_what_is_frozen(
    workspace: Workspace, owner: Actor, overlap: int, said: str, chosen: list[str], left_out: dict
) -> None:
    workspace.labelling.save(owner, LabellingSettings(overlap=overlap))
    two = couple(workspace)
    names = ["ann", "bob", "cem", "dan"]
    for n, word in enumerate(said.split()):
        vote(workspace, two, "owner" if word.endswith("!") else names[n], word, n)
    assert frozen(workspace) == (chosen, left_out)
    is_even = "voters disagree evenly" in left_out
    assert comparisons.count_disputed(workspace.db) == (overlap > 1 and is_even)


def test_a_filter_does_not_hide_votes_from_the_majority(workspace: Workspace, owner: Actor) -> None:
    workspace.labelling.save(owner, LabellingSettings(overlap=3))
    two = couple(workspace)
    for n, (who, said) in enumerate((("ann", "good"), ("bob", "bad"), ("cem", "bad"))):
        vote(workspace, two, who, said, n)
    assert frozen(workspace, PairQuery(teacher="teacher good")) == ([], {"outvoted": 1})
    assert frozen(workspace, PairQuery(teacher="teacher bad"))[0] == ["bad"]


def test_the_bench_goes_before_a_file_and_needs_all_its_votes(
    workspace: Workspace, owner: Actor
) -> None:
    workspace.labelling.save(owner, LabellingSettings(overlap=2))
    for said in ("", "bad", "bad bad"):
        two = couple(workspace)
        told = Preference(
            seed_id=two[0].seed_id,
            chosen_pair_id=two[0].id,
            rejected_pair_id=two[1].id,
            source="import",
        )
        preferences.insert(workspace.db, [told])
        for who, word in zip(("ann", "bob"), said.split(), strict=False):
            vote(workspace, two, who, word)
    rows, left_out = frozen(workspace)
    assert sorted(rows) == ["bad", "good"]
    assert left_out == {
        "voted on elsewhere, where people have voted on the bench": 2,
        "votes missing": 1,
        "same comparison voted again": 1,
    }


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    overlap=st.integers(1, 4),
    told=st.lists(
        st.lists(st.sampled_from([*SAYS, *(f"{s}!" for s in SAYS)]), max_size=5),
        min_size=1,
        max_size=4,
    ),
)
def test_what_waits_to_be_settled_is_what_the_votes_come_to(
    workspace: Workspace, owner: Actor, overlap: int, told: list[list[str]]
) -> None:
    """The SQL of "Settle ties" and the rule of snapshots agree on any votes."""
    with workspace.db.write() as cursor:  # one file for all examples
        cursor.execute(
            "DELETE FROM votes; DELETE FROM comparison_tasks; DELETE FROM preferences;"
            "DELETE FROM pairs"
        ).fetchall()
    workspace.labelling.save(owner, LabellingSettings(overlap=overlap))
    names = ["ann", "bob", "cem", "dan", "owner"]
    even, winners = set(), []
    for said in told:
        two = couple(workspace)
        for n, word in enumerate(said):
            vote(workspace, two, names[n], word, n)
        found = verdict([Say(w.removesuffix("!"), w.endswith("!")) for w in said], overlap)
        if found.state == "even":
            even.add(frozenset(p.id for p in two))
        elif found.said in ("good", "bad"):
            winners.append(found.said)
    waiting = comparisons.disputed(workspace.db, "nobody", 100)
    assert {frozenset((r["first_id"], r["second_id"])) for r in waiting} == (
        even if overlap > 1 else set()
    )
    assert sorted(frozen(workspace)[0]) == sorted(winners)
