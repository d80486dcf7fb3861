"""Several people: leases, overlap, portions, ties, what is hidden, and guidelines."""

from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, NotAllowed
from distill_studio.core.records import Decision, DecisionKind, Message, Pair, PairStatus, Vote
from distill_studio.core.records.labelling import Assignment, LabellingSettings, portion
from distill_studio.services.workspace import Workspace
from distill_studio.store import decisions, leases, pairs, standing
from distill_studio.store import preferences as preference_store
from distill_studio.store.pairs import PairQuery
from distill_studio.store.preferences import PreferenceQuery

ANN, BOB, CEM = (Actor(user=name, role=Role.REVIEWER) for name in ("ann", "bob", "cem"))
PENDING = PairQuery(status="pending", curation="kept", limit=10)


def fill(workspace: Workspace, seeds: int, candidates: int = 1) -> list[Pair]:
    made = [
        Pair(
            seed_id=f"seed-{s:03d}",
            messages=(Message(role="user", content=f"question {s}"),),
            answer=f"answer {s} {c}",
            sample=c,
            job_id="job",
            topic="odd" if s % 2 else "even",
        )
        for s in range(seeds)
        for c in range(candidates)
    ]
    pairs.insert(workspace.db, made)
    return made


def share(workspace: Workspace, owner: Actor, **fields: object) -> None:
    workspace.labelling.save(owner, LabellingSettings(**fields))


def decide(workspace: Workspace, who: Actor, pair_id: str, kind: str, **fields: object) -> str:
    made = Decision(id=str(uuid4()), pair_id=pair_id, kind=kind, **fields)
    result = workspace.review.decide(who, [made])
    assert result.stored == (made.id,), result
    return made.id


def ids(records) -> list[str]:
    return [r.id for r in records]


def status(workspace: Workspace, pair_id: str) -> str:
    assert decisions.out_of_step(workspace.db) == []
    pair = pairs.get(workspace.db, [pair_id])[0]
    return f"{pair.status} {pair.edited_answer or pair.reject_reason}".strip()


def test_portions_are_small_only_where_others_decide_too(workspace, owner):
    accounts = workspace.studio.accounts
    sizes = [workspace.labelling.rules(owner).batch]
    accounts.add("guest", "viewer", "owner", "correct horse battery")
    sizes.append(workspace.labelling.rules(owner).batch)
    accounts.add("ann", "reviewer", "owner", "correct horse battery")
    sizes.append(workspace.labelling.rules(owner).batch)
    workspace.users.disable(owner, "ann")
    sizes.append(workspace.labelling.rules(owner).batch)
    assert sizes[0] == sizes[1] == sizes[3] > sizes[2]


def test_two_people_are_not_handed_the_same_record(workspace: Workspace) -> None:
    made = [p.id for p in fill(workspace, 25)]
    hers, his = workspace.review.next(ANN, PENDING), workspace.review.next(BOB, PENDING)
    assert ids(hers) == made[:10]
    assert ids(his) == made[10:20]
    assert ids(workspace.review.next(ANN, PENDING, have=tuple(made[:10]))) == made[20:]
    assert workspace.review.next(CEM, PENDING) == []
    assert ids(workspace.review.next(ANN, PENDING)) == made[:10]  # a reload gives hers again
    decide(workspace, ANN, made[0], "skip")  # others may have it now
    assert ids(workspace.review.next(BOB, PENDING, have=tuple(made[10:20]))) == [made[0]]
    workspace.studio.release_leases("ann")
    assert set(ids(workspace.review.next(CEM, PENDING))) <= set(made[1:10] + made[20:])


def test_a_lease_ends_at_its_time_and_a_page_that_works_prolongs_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill_studio.services import labelling, review

    made = [p.id for p in fill(workspace, 4)]
    shift = timedelta()
    really = review.utc_now
    for module in (labelling, review):
        monkeypatch.setattr(module, "utc_now", lambda: really() + shift)
    workspace.review.next(ANN, PENDING)
    shift = timedelta(minutes=10)
    assert workspace.review.renew(ANN, tuple(made[:2])) == []
    shift = timedelta(minutes=20)
    assert ids(workspace.review.next(BOB, PENDING)) == made[2:]
    assert workspace.review.renew(ANN, tuple(made)) == made[2:]  # her page may forget those
    decide(workspace, ANN, made[2], "accept")  # made offline: stored all the same
    assert status(workspace, made[2]) == "accepted"
    assert workspace.review.renew(BOB, tuple(made[2:])) == [made[2]]


def test_an_undone_record_is_its_persons_again(workspace: Workspace) -> None:
    made = [p.id for p in fill(workspace, 1)]
    workspace.review.next(ANN, PENDING)
    first = decide(workspace, ANN, made[0], "accept")
    decide(workspace, ANN, made[0], "undo", undoes=first)
    assert workspace.review.next(BOB, PENDING) == []
    assert ids(workspace.review.next(ANN, PENDING)) == made


def test_each_record_is_handed_to_as_many_as_the_overlap_asks(
    workspace: Workspace, owner: Actor
) -> None:
    made = [p.id for p in fill(workspace, 3)]
    share(workspace, owner, overlap=2)
    assert ids(workspace.review.next(ANN, PENDING)) == made
    assert ids(workspace.review.next(BOB, PENDING)) == made
    assert workspace.review.next(CEM, PENDING) == []
    decide(workspace, ANN, made[0], "accept")
    assert status(workspace, made[0]) == "pending"
    assert ids(workspace.review.next(ANN, PENDING)) == made[1:]  # she has voted on it
    assert workspace.review.progress(ANN).pending == 2
    decide(workspace, BOB, made[0], "accept")
    assert status(workspace, made[0]) == "accepted"
    workspace.studio.release_leases("bob")
    assert ids(workspace.review.next(CEM, PENDING)) == made[1:]


def test_votes_decide_by_majority_and_ties_are_settled(workspace: Workspace, owner: Actor) -> None:
    first, second, third = (p.id for p in fill(workspace, 3))
    share(workspace, owner, overlap=3)
    decide(workspace, ANN, first, "accept")
    decide(workspace, BOB, first, "edit", answer="better")
    assert status(workspace, first) == "pending"
    decide(workspace, CEM, first, "edit", answer="better")
    assert status(workspace, first) == "accepted better"
    for who, reason in ((ANN, "wrong"), (BOB, "rude"), (CEM, "")):
        decide(workspace, who, second, "reject" if reason else "accept", reason=reason)
    assert status(workspace, second) == "rejected rude"
    share(workspace, owner, overlap=2)
    decide(workspace, ANN, third, "accept")
    no = decide(workspace, BOB, third, "reject", reason="wrong")
    assert status(workspace, third) == "pending"
    assert ids(workspace.review.queue(owner, PairQuery(is_disputed=True))) == [third]
    assert workspace.review.progress(owner).disputed == 1
    assert workspace.review.next(CEM, PENDING) == []  # not one more vote: an adjudicator
    told = workspace.review.decide(
        ANN, [Decision(id=str(uuid4()), pair_id=third, kind="accept", is_final=True)]
    )
    assert "adjudicator" in told.refused[0].reason
    final = decide(workspace, owner, third, "reject", reason="settled", is_final=True)
    assert status(workspace, third) == "rejected settled"
    decide(workspace, CEM, third, "accept")  # late, from offline: it counts as a vote, no more
    assert status(workspace, third) == "rejected settled"
    decide(workspace, owner, third, "undo", undoes=final)
    assert status(workspace, third) == "accepted"
    decide(workspace, BOB, third, "undo", undoes=no)
    assert status(workspace, third) == "accepted"
    assert workspace.labelling.preview(owner, 3) == 1
    with pytest.raises(Conflict):
        workspace.labelling.save(owner, LabellingSettings(overlap=3), expected=7)
    share(workspace, owner, overlap=3)
    assert status(workspace, third) == "pending"
    share(workspace, owner, overlap=1)  # as if there had never been more
    assert status(workspace, third) == "accepted"


def test_named_reviewers_settle_and_bulks_are_the_owners(
    workspace: Workspace, owner: Actor
) -> None:
    made = [p.id for p in fill(workspace, 2)]
    share(workspace, owner, overlap=2, adjudicators=("Cem",))
    decide(workspace, CEM, made[0], "reject", reason="x", is_final=True)
    assert status(workspace, made[0]) == "rejected x"
    with pytest.raises(NotAllowed):
        workspace.review.bulk(ANN, PairQuery(), DecisionKind.ACCEPT, "bulk-0001")
    assert workspace.review.bulk(owner, PairQuery(), DecisionKind.ACCEPT, "bulk-0002").count == 2
    assert status(workspace, made[0]) == status(workspace, made[1]) == "accepted"
    workspace.review.bulk_undo(owner, "bulk-0002")
    assert status(workspace, made[0]) == "rejected x"


def test_others_votes_are_hidden_until_ones_own(workspace: Workspace, owner: Actor) -> None:
    made = [p.id for p in fill(workspace, 1)]
    share(workspace, owner, overlap=3)
    decide(workspace, ANN, made[0], "reject", reason="wrong")
    seen = {who.user: len(workspace.review.history(who, made[0])) for who in (ANN, BOB, owner)}
    assert seen == {"ann": 1, "bob": 0, "owner": 1}
    record = workspace.review.next(BOB, PENDING)[0]
    assert "wrong" not in record.model_dump_json()
    assert "ann" not in record.model_dump_json()
    decide(workspace, BOB, made[0], "accept")
    assert len(workspace.review.history(BOB, made[0])) == 2
    share(workspace, owner, overlap=3, sees_others="always")
    assert len(workspace.review.history(CEM, made[0])) == 2


def test_portions_by_topic_and_by_lot(workspace: Workspace, owner: Actor) -> None:
    made = fill(workspace, 40, candidates=2)
    share(
        workspace,
        owner,
        assignments=(
            Assignment(user="ann", share_percent=60),
            Assignment(user="bob", share_percent=40),
            Assignment(user="cem", topics=("odd",)),
        ),
    )
    query = PENDING.model_copy(update={"limit": 100})
    hers, his = (
        {p.seed_id for p in pairs.get(workspace.db, ids(workspace.review.next(who, query)))}
        for who in (ANN, BOB)
    )
    assert hers
    assert his
    assert not hers & his
    assert hers | his == {p.seed_id for p in made}
    workspace.studio.release_leases("ann")
    workspace.studio.release_leases("bob")
    assert {r.topic for r in workspace.review.next(CEM, query)} == {"odd"}
    assert workspace.review.progress(CEM).pending == 40
    assert {t.messages[0].content for t in workspace.prefer.queue(CEM)} == {
        f"question {n}" for n in range(1, 40, 2)
    }
    many = LabellingSettings(
        assignments=tuple(Assignment(user=f"u{n}", share_percent=30) for n in range(5))
    )
    assert [portion(many, f"u{n}").from_percent for n in range(5)] == [0, 30, 60, 90, 20]


def vote(workspace: Workspace, who: Actor, task, outcome: str) -> None:
    told = workspace.prefer.vote(who, [Vote(id=str(uuid4()), task_id=task.id, outcome=outcome)])
    assert len(told.stored) == 1, told
    assert preference_store.out_of_step(workspace.db) == []


def test_two_people_compare_different_answers(workspace: Workspace) -> None:
    fill(workspace, 6, candidates=2)
    hers = workspace.prefer.queue(ANN, limit=4)
    his = workspace.prefer.queue(BOB, limit=4)
    assert len(hers) == 4
    assert len(his) == 2
    assert not {t.messages for t in hers} & {t.messages for t in his}
    vote(workspace, ANN, hers[0], "left")
    vote(workspace, ANN, hers[1], "skip")  # not done: somebody else's
    assert [t.messages for t in workspace.prefer.queue(BOB, after=his[-1].id)] == [hers[1].messages]
    workspace.studio.release_leases("ann")
    assert len(workspace.prefer.queue(CEM)) == 2
    assert workspace.prefer.renew(ANN, tuple(t.id for t in hers[2:])) == [t.id for t in hers[2:]]


def better(task, word: str) -> str:
    """The side whose answer ends so."""
    return "left" if task.left.endswith(word) else "right"


def test_an_overlap_of_comparisons_and_its_ties(workspace: Workspace, owner: Actor) -> None:
    fill(workspace, 2, candidates=4)
    share(workspace, owner, overlap=2)
    hers = workspace.prefer.queue(ANN)
    his = workspace.prefer.queue(BOB)
    couple = lambda t: frozenset((t.left, t.right))  # noqa: E731
    assert {couple(t) for t in hers} == {couple(t) for t in his}
    assert len(hers) == 4
    assert workspace.prefer.queue(CEM) == []
    by_couple = {couple(t): t for t in his}
    first, other = hers[0], by_couple[couple(hers[0])]
    winner = first.left[-1]
    vote(workspace, ANN, first, "left")
    vote(workspace, BOB, other, better(other, first.right[-1]))
    assert workspace.prefer.progress(owner).disputed == 1
    with pytest.raises(NotAllowed):
        workspace.prefer.ties(ANN)
    tie = workspace.prefer.ties(owner)
    assert [couple(t) for t in tie] == [couple(first)]
    assert workspace.prefer.ties(owner) == tie
    vote(workspace, owner, tie[0], "skip")
    assert workspace.prefer.ties(owner) == tie  # a skip does not wedge it
    vote(workspace, owner, tie[0], better(tie[0], winner))
    assert workspace.prefer.ties(owner) == []
    assert workspace.prefer.progress(owner).disputed == 0
    final = [p for p in workspace.prefer.page(owner, PreferenceQuery()) if p.is_final]
    assert [p.user for p in final] == ["owner"]
    assert {p.user for p in workspace.prefer.page(ANN, PreferenceQuery())} == {"ann"}
    frozen = workspace.freeze.create(owner, name="won", format="preference")
    assert (frozen.train_rows + frozen.validation_rows) == 1


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("few", [0, standing.FEW])
@given(
    overlap=st.integers(1, 3),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ann", "bob", "cem"]),
            st.sampled_from(["accept", "edit a", "edit b", "reject", "final", "undo", "skip"]),
        ),
        max_size=14,
    ),
)
def test_any_votes_give_the_state_that_the_rule_says(
    workspace: Workspace,
    owner: Actor,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
    overlap: int,
    steps: list[tuple[str, str]],
) -> None:
    monkeypatch.setattr(standing, "FEW", few)  # by one statement, and pair by pair
    with workspace.db.write() as cursor:  # one file for all examples
        cursor.execute("DELETE FROM decisions; DELETE FROM pairs").fetchall()
    share(workspace, owner, overlap=overlap)
    pair_id = fill(workspace, 1)[0].id
    log: list[tuple[str, str, str]] = []  # id, user, what; taken back ones go
    for user, what in steps:
        kind, _, text = ("reject" if what == "final" else what).partition(" ")
        mine = [entry for entry in log if entry[1] == user]
        if kind == "undo" and not mine:
            continue
        made = Decision(
            id=str(uuid4()),
            pair_id=pair_id,
            kind=kind,
            answer=text or None,
            is_final=what == "final",
            undoes=mine[-1][0] if kind == "undo" else None,
        )
        decisions.record(workspace.db, user, [made])
        if kind == "undo":
            log.remove(mine[-1])
        elif kind != "skip":
            log.append((made.id, user, what))
    assert status(workspace, pair_id).split() == expected(log, overlap)


def expected(log: list[tuple[str, str, str]], overlap: int) -> list[str]:
    """The rule of docs/labelling.md, the slow and plain way."""

    def told(what: str) -> list[str]:
        if what in ("reject", "final"):
            return ["rejected"]
        return ["accepted", *what.split()[1:]]

    finals = [what for _, _, what in log if what == "final"]
    if overlap == 1:
        return told(log[-1][2]) if log else ["pending"]
    if finals:
        return told(finals[-1])
    votes = {}
    for _, user, what in log:
        votes.pop(user, None)
        votes[user] = what  # in the order of each person's newest
    noes = [v for v in votes.values() if v == "reject"]
    ayes = [v for v in votes.values() if v != "reject"]
    if len(votes) < overlap or len(noes) == len(ayes):
        return ["pending"]
    if len(noes) > len(ayes):
        return ["rejected"]
    most = max(ayes.count(v) for v in ayes)
    return told([v for v in ayes if ayes.count(v) == most][-1])


def test_guidelines_have_versions(workspace: Workspace, owner: Actor) -> None:
    assert workspace.labelling.guidelines(ANN).version == 0
    workspace.labelling.save_guidelines(owner, "# Be *kind*\n")
    workspace.labelling.save_guidelines(owner, "# Be *kind*")  # the same: no new version
    made = workspace.labelling.save_guidelines(owner, "# Be **strict**")
    assert (made.version, made.user) == (2, "owner")
    assert workspace.labelling.guidelines(ANN, 1).text == "# Be *kind*"
    assert [g.version for g in workspace.labelling.guideline_versions(ANN)] == [2, 1]
    with pytest.raises(NotAllowed):
        workspace.labelling.save_guidelines(ANN, "x")


def test_leases_are_few_and_go(workspace: Workspace) -> None:
    made = [p.id for p in fill(workspace, 5)]
    workspace.review.next(ANN, PENDING)
    workspace.review.next(ANN, PENDING)
    assert workspace.db.value("SELECT count(*) FROM leases") == 5
    for pair_id in made:
        decide(workspace, ANN, pair_id, "accept")
    assert workspace.db.value("SELECT count(*) FROM leases") == 0
    assert pairs.get(workspace.db, made)[0].status is PairStatus.ACCEPTED
    assert leases.count_disputed(workspace.db) == 0
