"""Who has not voted yet learns nothing of what others said, whatever they ask for."""

import inspect
import json
from typing import Any
from uuid import uuid4

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed, StudioError
from distill_studio.core.records import Decision, Message, Pair, Vote
from distill_studio.core.records.labelling import LabellingSettings
from distill_studio.services import operations
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs
from distill_studio.store.pairs import PairQuery

MARK = "7f3a"  # in her name and in everything that she writes
ANN = Actor(user=f"ann-{MARK}", role=Role.REVIEWER)
BOB = Actor(user="bob", role=Role.REVIEWER)
TAG = f"tag-{MARK}"

# Reviewers' operations that read; all that ask for less than a reviewer do.
READ_BY_REVIEWERS = {"prefer_queue", "prefer_rank_queue", "prefer_ties", "review_next"}
# They need what this workspace has not: a run, a suite, a server, a generation, a snapshot.
_NEEDS_MORE = {
    "benchmarks": "get log scores",
    "distill": "command curve events get log package preflight tokens",
    "diversity": "area point",
    "evaluate": "get heldout",
    "export": "snapshot student",
    "feedback": "lost proposal rounds steps view",
    "freeze": "get rows",
    "generate": "failures preview reasons recent",
    "jobs": "events get wait",
    "leaks": "report",
    "lineage": "model",
    "pipelines": "export_text",
    "plans": "check get",
    "recipes": "history",
    "runs": "compare notes settings",
    "servers": "health log",
    "suites": "judge_warning answers get items newest report standings trial trials",
    "teachers": "estimate",
    "users": "change_password",
}
NOT_HERE = {f"{word}_{method}" for word, all_ in _NEEDS_MORE.items() for method in all_.split()}
ALLOWED: set[str] = set()  # operations whose answer may hold a mark of hers


def reading() -> list[str]:
    """Names of the operations that only read."""
    found = []
    for name, operation in operations.operations().items():
        service = next(c for c in operations._service_classes() if c.word == operation.word)
        source = inspect.getsource(getattr(service, operation.method))
        if "require(Role.VIEWER)" in source or name in READ_BY_REVIEWERS:
            found.append(name)
    return found


@pytest.fixture
def marked(workspace: Workspace, owner: Actor) -> list[Pair]:
    """Ann has decided, voted, ranked, tagged and noted, with marks, where two votes are asked."""
    made = [
        Pair(
            seed_id=f"seed-{s}",
            messages=(Message(role="user", content=f"question {s}"),),
            answer=f"answer {s} {c}",
            sample=c,
            job_id="job",
            teacher=f"teacher-{c}",
        )
        for s, candidates in enumerate((2, 2, 2, 3))
        for c in range(candidates)
    ]
    pairs.insert(workspace.db, made)
    workspace.labelling.save(owner, LabellingSettings(overlap=2))

    def decide(place: int, kind: str, **fields: object) -> None:
        one = Decision(id=str(uuid4()), pair_id=made[place].id, kind=kind, **fields)
        assert workspace.review.decide(ANN, [one]).stored

    decide(0, "reject", reason=f"why-{MARK}")
    decide(1, "edit", answer=f"edit-{MARK}")
    decide(2, "accept")
    for place in (0, 3):
        decide(place, "note", note=f"note-{MARK}", tags=(TAG,))
    [ranking] = workspace.prefer.rank_queue(ANN)
    votes = [Vote(id=str(uuid4()), task_id=ranking.id, outcome="rank", ranks=(1, 2, 3))]
    for task in workspace.prefer.queue(ANN, limit=2):
        said = {"outcome": "left", "reason": f"because-{MARK}"}
        votes.append(Vote(id=str(uuid4()), task_id=task.id, **said))
    assert len(workspace.prefer.vote(ANN, votes).stored) == 3
    return made


MODELS = ["teacher:SmolLM2 135M (this machine)", "base:smollm2-135m-instruct"]


def calls(name: str, made: list[Pair]) -> list[dict[str, Any]]:
    """Arguments to call an operation with: plain ones, and those that ask for hers."""
    fields = operations.operations()[name].arguments.model_fields
    known: dict[str, Any] = {
        "query": {}, "kind": "accept", "a": made[0].id, "b": made[1].id, "models": MODELS
    }  # fmt: skip
    plain = {f: v for f, v in known.items() if f in fields and fields[f].is_required()}
    if "pair_id" in fields:
        return [{**plain, "pair_id": pair.id} for pair in made]
    found = [plain, *({**plain, f: ANN.user} for f in ("voter", "user") if f in fields)]
    if name == "agreement_rows":
        found += [{"measured": measured} for measured in ("kept", "votes")]
    if name in ("prefer_page", "prefer_count", "export_preferences", "export_preview_preferences"):
        found.append({"query": {"user": ANN.user}})
    return found


def answer(workspace: Workspace, who: Actor, name: str, arguments: dict[str, Any]) -> str:
    """What an operation answers, with what is in a file that it made; '' when it is refused."""
    try:
        found = operations.call(workspace, who, name, arguments)
    except StudioError:
        return ""
    text = json.dumps(found)
    if name.startswith(("export_", "report_")) and isinstance(found, dict) and "name" in found:
        file = workspace.folder / "exports" / found["name"]
        if file.is_file():
            text += file.read_text(encoding="utf-8", errors="replace")
    return text


def test_no_operation_tells_what_others_said(workspace: Workspace, marked: list[Pair]) -> None:
    names = reading()
    assert len(names) > 100
    assert set(names) >= NOT_HERE
    told, answered = set(), set()
    for name in sorted(set(names) - NOT_HERE):
        for arguments in calls(name, marked):
            said = answer(workspace, BOB, name, arguments)
            answered |= {name} if said else set()
            told |= {name} if MARK in said else set()
    assert told == ALLOWED
    assert len(answered) > 0.9 * len(set(names) - NOT_HERE), set(names) - NOT_HERE - answered


def test_the_marks_are_there_to_be_found(
    workspace: Workspace, owner: Actor, marked: list[Pair]
) -> None:
    everything = {
        name
        for name in set(reading()) - NOT_HERE
        for arguments in calls(name, marked)
        if MARK in answer(workspace, owner, name, arguments)
    }
    assert everything >= {
        "agreement_people", "agreement_person", "agreement_ranking", "agreement_rows",
        "agreement_verdicts", "arena_standings", "export_preferences",
        "export_preview_preferences", "lineage_row", "prefer_page", "review_facets",
        "review_history", "review_tags",
    }  # fmt: skip


def test_a_hidden_tag_finds_nothing(workspace: Workspace, owner: Actor, marked: list[Pair]) -> None:
    hers = PairQuery(tag=TAG)
    assert workspace.review.count(owner, hers) == len(workspace.review.page(owner, hers)) == 2
    for ask in (workspace.review.page, workspace.review.queue, workspace.review.next):
        assert ask(BOB, hers) == []
    assert workspace.review.count(BOB, hers) == 0
    assert workspace.review.bulk_count(BOB, hers, "accept") == 0
    everything = PairQuery(tag=TAG, tag_by=ANN.user)
    with pytest.raises(InvalidInput, match="no row matches"):
        workspace.export.pairs(BOB, query=everything)
    assert workspace.export.pairs(owner, query=hers).rows == 2
    assert workspace.freeze.preview(BOB, query=everything).left_out == {}
    assert workspace.freeze.preview(owner, query=hers).left_out


def test_what_is_decided_or_voted_on_is_told(
    workspace: Workspace, owner: Actor, marked: list[Pair]
) -> None:
    pair = marked[0].id
    assert workspace.lineage.row(BOB, pair).decisions == []
    workspace.review.decide(BOB, [Decision(id="his-decision", pair_id=pair, kind="accept")])
    said = {(d.user, d.kind) for d in workspace.lineage.row(BOB, pair).decisions}
    assert said == {(ANN.user, "reject"), (ANN.user, "note"), ("bob", "accept")}
    workspace.labelling.save(owner, LabellingSettings(overlap=2, sees_others="always"))
    assert workspace.lineage.row(BOB, marked[1].id).decisions[0].user == ANN.user
    assert TAG in workspace.review.tags(BOB)


def test_only_an_owner_names_another_voter(
    workspace: Workspace, owner: Actor, marked: list[Pair]
) -> None:
    assert workspace.agreement.ranking(owner, voter=ANN.user).voters == {ANN.user: 5}
    for who in (BOB, Actor(user="eve", role=Role.VIEWER)):
        with pytest.raises(NotAllowed, match="figures of others"):
            workspace.agreement.ranking(who, voter=ANN.user)
        with pytest.raises(NotAllowed, match="figures of others"):
            workspace.arena.standings(who, voter=ANN.user)
        assert workspace.arena.standings(who).voters == {}
        assert workspace.agreement.ranking(who).voters == {}
        assert workspace.agreement.ranking(who, "all").ranking.n == 5  # what all do together
    assert workspace.agreement.ranking(ANN, voter=ANN.user).voters == {ANN.user: 5}
