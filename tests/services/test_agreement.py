"""The agreement service: who sees what, what counts, judges' scores, verifiers."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotAllowed
from distill_studio.core.records import Decision, DecisionKind, Message, Pair, Preference, Vote
from distill_studio.core.records.labelling import LabellingSettings
from distill_studio.services import operations
from distill_studio.services.agreement_csv import flat, to_csv
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs, preferences
from distill_studio.store.pairs import PairQuery

ANN = Actor(user="ann", role=Role.REVIEWER)
BOB = Actor(user="bob", role=Role.REVIEWER)


def fill(workspace: Workspace, seeds: int, **fields: object) -> list[Pair]:
    made = [
        Pair(
            **{
                "seed_id": f"seed-{s:03d}",
                "messages": (Message(role="user", content=f"question {s}"),),
                "answer": "word " * (5 + 5 * c) + f"{s}",
                "sample": c,
                "job_id": "job",
                "teacher": f"teacher-{c}",
                "topic": f"topic-{s % 2}",
            }
            | fields
        )
        for s in range(seeds)
        for c in range(2)
    ]
    pairs.insert(workspace.db, made)
    return made


def decide(workspace: Workspace, actor: Actor, pair: Pair, kind: str, **fields: object) -> str:
    made = Decision(id=str(uuid4()), pair_id=pair.id, kind=kind, **fields)
    assert workspace.review.decide(actor, [made]).stored
    return made.id


def test_what_to_do_is_said_until_two_have_judged_the_same(
    workspace: Workspace, owner: Actor
) -> None:
    made = fill(workspace, 3)
    assert "Nobody has decided" in workspace.agreement.rows(owner).hint
    decide(workspace, ANN, made[0], "accept")
    assert "a second one must judge" in workspace.agreement.rows(owner).hint
    decide(workspace, BOB, made[1], "accept")
    assert "overlap" in workspace.agreement.rows(owner).hint
    decide(workspace, BOB, made[0], "reject")
    report = workspace.agreement.rows(owner)
    assert (report.hint, report.rows[0].items, report.rows[0].percent.value) == ("", 1, 0.0)
    assert "voted" in workspace.agreement.rows(owner, "votes").hint


def test_the_newest_decision_counts_and_bulks_undos_and_imports_do_not(
    workspace: Workspace, owner: Actor
) -> None:
    made = fill(workspace, 2)
    decide(workspace, ANN, made[0], "accept")
    decide(workspace, ANN, made[0], "edit", answer="better")
    taken_back = decide(workspace, ANN, made[1], "reject")
    decide(workspace, ANN, made[1], "undo", undoes=taken_back)
    decide(workspace, BOB, made[0], "accept")
    workspace.studio.release_leases("ann")  # what she undid is hers again, and no bulk's
    workspace.review.bulk(BOB, PairQuery(), DecisionKind.REJECT, "a-bulk-id")
    mark = Decision(id=f"import:{made[2].id}", pair_id=made[2].id, kind="accept", is_final=True)
    workspace.review.decide(owner, [mark])
    verdicts = {(v.person, v.item): v.label for v in workspace.agreement.verdicts(owner)}
    assert verdicts == {("ann", made[0].id): "edit", ("bob", made[0].id): "accept"}
    assert workspace.agreement.rows(owner).rows[0].percent.value == 0.0
    assert workspace.agreement.rows(owner, "kept").rows[0].percent.value == 1.0
    bob = workspace.agreement.person(owner, "bob")
    assert (bob.decisions, bob.accepted, bob.bulk) == (1, 1, 4)


def test_people_see_their_own_figures(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 4)
    cem = Actor(user="cem", role=Role.REVIEWER)
    for actor in (ANN, BOB, cem):
        for pair in made:
            decide(workspace, actor, pair, "accept" if actor is not BOB else "reject")
    assert [p.user for p in workspace.agreement.people(owner)] == ["ann", "bob", "cem"]
    assert [p.user for p in workspace.agreement.people(ANN)] == ["ann"]
    assert {v.person for v in workspace.agreement.verdicts(ANN)} == {"ann"}
    assert len(workspace.agreement.verdicts(owner)) == 3 * len(made)
    names = [r.name for r in workspace.agreement.rows(ANN).rows if r.scope == "people"]
    assert names == ["ann, bob", "ann, cem"]
    assert [r.name for r in workspace.agreement.rows(owner).rows if r.scope != "people"] == [
        "Everybody", "topic-0", "topic-1",
    ]  # fmt: skip
    assert workspace.agreement.person(ANN).with_others_decisions.percent.value == 0.5
    with pytest.raises(NotAllowed):
        workspace.agreement.person(ANN, "bob")


def test_the_pace_leaves_breaks_out(workspace: Workspace) -> None:
    made = fill(workspace, 4)
    now = datetime.now(UTC) - timedelta(hours=2)
    for pair, gap in zip(made, (0, 4, 6, 3000, 5, 4, 6, 5), strict=True):
        now += timedelta(seconds=gap)
        decide(workspace, ANN, pair, "accept", made_at=now)
    ann = workspace.agreement.person(ANN)
    assert ann.seconds_a_decision == pytest.approx(5.0)
    assert ann.decisions_a_minute == pytest.approx(12.0)


def test_votes_count_without_their_sides(workspace: Workspace, owner: Actor) -> None:
    """Both choose the longer answer, wherever it stands: full agreement, a lean to length."""
    workspace.labelling.save(owner, LabellingSettings(overlap=2))
    fill(workspace, 30)
    for actor in (ANN, BOB):
        tasks = workspace.prefer.queue(actor, limit=30)
        votes = [
            Vote(
                id=str(uuid4()),
                task_id=t.id,
                outcome="left" if len(t.left) > len(t.right) else "right",
            )
            for t in tasks
        ]
        workspace.prefer.vote(actor, votes)
    whole = workspace.agreement.rows(owner, "votes").rows[0]
    assert (whole.items, whole.percent.value, whole.cohen.value) == (30, 1.0, 1.0)
    ann = workspace.agreement.person(ANN)
    assert ann.length.share.value == 1.0
    assert "much the same" in ann.length.remark
    assert ann.position.share.n == 30
    side = ann.position.share  # sides are random: now and then chance leans
    assert bool(ann.position.warning) != (side.low <= 0.5 <= side.high)
    ranking = workspace.agreement.ranking(owner)
    assert (ranking.sources, ranking.voters) == ("people", {"ann": 30, "bob": 30})
    assert ranking.ranking.prompts == 30
    assert [s.rating is None for s in ranking.ranking.strengths] == [True, False]  # never lost


def test_judges_scores_and_preferences_beside_people(workspace: Workspace, owner: Actor) -> None:
    """A judge whose scores people follow, one that scores by chance, a verifier that is right."""
    made = []
    for n in range(60):
        is_good = n % 2 == 0
        judged = {"judge": "sharp" if n % 3 else "dull", "model": "m-1"}
        score = (4.5 if is_good else 2.0) if n % 3 else (4.5 if n % 4 < 2 else 2.0)
        made.append(
            Pair(
                seed_id=f"s{n}", messages=(Message(role="user", content=f"q{n}"),),
                answer=f"a{n}", job_id="job", judge_score=score, teacher="t",
                params={"judged": judged, "verified": {"ok": is_good}},
            )
        )  # fmt: skip
    pairs.insert(workspace.db, made)
    for n, pair in enumerate(made):
        decide(workspace, ANN, pair, "accept" if n % 2 == 0 else "reject")
    found = {j.judge: j for j in workspace.agreement.judges(owner)}
    assert list(found) == ["dull (m-1)", "sharp (m-1)", "verifier"]
    assert (found["sharp (m-1)"].agreement.kappa.value, found["sharp (m-1)"].line) == (1.0, 4.0)
    assert found["sharp (m-1)"].separation.value == 1.0
    assert found["sharp (m-1)"].is_usable
    assert abs(found["dull (m-1)"].agreement.kappa.value) < 0.2
    assert "better than chance" in found["dull (m-1)"].advice
    assert found["verifier"].agreement.percent.value == 1.0
    stricter = {j.judge: j for j in workspace.agreement.judges(owner, line=5.0)}
    assert stricter["sharp (m-1)"].agreement.percent.value == 0.5


def test_two_scores_of_one_judge_are_a_preference(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 6, params={"judged": {"judge": "j", "model": ""}})
    workspace.db.rows("UPDATE pairs SET judge_score = sample")  # the second is always better
    stored = Preference(
        seed_id=made[0].seed_id, chosen_pair_id=made[0].id, rejected_pair_id=made[1].id,
        source="judge",
    )  # fmt: skip
    preferences.insert(workspace.db, [stored])  # but here the judge said otherwise
    tasks = workspace.prefer.queue(ANN)
    sides = ["left" if len(t.left) > len(t.right) else "right" for t in tasks]
    votes = [
        Vote(id=str(uuid4()), task_id=t.id, outcome=side)
        for t, side in zip(tasks, sides, strict=True)
    ]
    workspace.prefer.vote(ANN, votes)
    judge = workspace.agreement.judges(owner)[0]
    assert (judge.judge, judge.of, judge.agreement.n) == ("j", "votes", 6)
    assert judge.agreement.percent.value == pytest.approx(5 / 6)


def test_rankings_choose_voters_and_anchor(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 40)
    votes = [
        Preference(
            seed_id=a.seed_id,
            chosen_pair_id=(a if n % 4 else b).id,
            rejected_pair_id=(b if n % 4 else a).id,
            source="judge" if n % 2 else "import",
            user="j" if n % 2 else "owner",
        )
        for n, (a, b) in enumerate(zip(made[::2], made[1::2], strict=True))
    ]
    preferences.insert(workspace.db, votes)
    both = workspace.agreement.ranking(owner, "all", anchor="teacher-1")
    assert both.ranking.n == 40
    first = both.ranking.strengths[0]
    assert (first.model, both.ranking.anchor) == ("teacher-0", "teacher-1")
    assert first.rating == pytest.approx(1000 + 400 * 0.4771, abs=0.1)  # odds of 3 to 1
    assert workspace.agreement.ranking(owner).sources == "judges"
    assert workspace.agreement.ranking(owner, voter="owner").sources == "imports"
    assert workspace.agreement.ranking(owner, "people").ranking.strengths == ()


def test_figures_hold_until_something_is_stored(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 3)
    for pair in made[:2]:
        decide(workspace, ANN, pair, "accept")
        decide(workspace, BOB, pair, "accept")

    def figures(actor: Actor) -> list[object]:
        measures = workspace.agreement
        return [measures.rows(actor).rows, *measures.people(actor), measures.ranking(actor)]

    first, again = figures(owner), figures(owner)
    assert all(a is b for a, b in zip(first[1:], again[1:], strict=True))
    assert [row.people for row in figures(ANN)[0] if row.scope == "people"] == [("ann", "bob")]
    decide(workspace, BOB, made[1], "reject")
    changed = figures(owner)
    assert (first[0][0].percent.value, changed[0][0].percent.value) == (1.0, 0.5)
    assert changed[2].rejected == 1
    assert changed[3] == first[3]


def test_operations_and_csv(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 2)
    evil = Actor(user="=HYPERLINK(1)", role=Role.REVIEWER)
    for actor in (ANN, evil):
        decide(workspace, actor, made[0], "accept")
    rows = operations.call(workspace, owner, "agreement_rows", {"measured": "kept"})["rows"]
    text = to_csv(rows)
    assert text.splitlines()[0].startswith("scope,name,people,items,verdicts,percent_value")
    assert "'=HYPERLINK" in text
    assert flat(rows[0])["percent_value"] == 1.0
    assert to_csv([]) == "\n"
    for name in ("people", "judges", "ranking", "verdicts", "person"):
        operations.call(workspace, owner, f"agreement_{name}", {})
