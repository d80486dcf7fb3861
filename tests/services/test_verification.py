"""The verified recipe: what holds is kept, what does not is a row with its reason and text."""

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import JobState, Message, Seed
from distill_studio.generate.recipes.verified import held_against
from distill_studio.services import teachers as teachers_service
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.store import seeds
from distill_studio.teachers.scripted import ScriptedChatModel
from distill_studio.verify import VerifierKind

RIGHT = "Two apples and three apples.\n2 + 3 = 5\n#### 5"
REPLIES = {
    "right": RIGHT,
    "wrong": "Two and three make six.\n#### 6",
    "unmarked": "It may well be 5 or so, who knows.",
    "looping": "add them " * 60 + "\n#### 5",
}


def seed(prompt: str, reference: str | None = "2 + 3 = <<2+3=5>>5\n#### 5", **extra) -> Seed:
    messages = (Message(role="user", content=prompt),)
    return Seed(messages=messages, reference=reference, extra=extra)


@pytest.fixture
def teacher(workspace, monkeypatch) -> ScriptedChatModel:
    model = ScriptedChatModel("scripted", dict(REPLIES))
    monkeypatch.setattr(workspace.teachers, "model", lambda name, *spent: model)
    return model


def run(workspace, owner, **arguments):
    name = teachers_service.STARTER.name
    job = workspace.generate.start(
        owner, GenerationWish(teachers=[name], recipe="verified", **arguments)
    )
    return workspace.jobs.wait(owner, job.id, timeout_s=60)


def test_only_what_holds_is_kept_and_the_rest_explained(workspace, owner, teacher):
    seeds.insert(workspace.db, [seed(prompt) for prompt in REPLIES] + [seed("no reference", None)])
    done = run(workspace, owner, n=2)
    assert done.state is JobState.DONE
    assert (done.result["requests"], done.result["answered"], done.result["failed"]) == (8, 2, 6)
    kept = workspace.generate.recent(owner, done.id)
    assert {(p.prompt, p.answer) for p in kept} == {("right", RIGHT)}
    assert kept[0].params["verified"]["answer"] == "5"
    told = {f.text: f.reason for f in workspace.generate.failures(owner, done.id)}
    assert {f.code for f in workspace.generate.failures(owner, done.id)} == {"not_verified"}
    assert told.keys() == {REPLIES[key].strip() for key in ("wrong", "unmarked", "looping")}
    assert "loop" in told[REPLIES["looping"].strip()]
    assert "final answer" in told[REPLIES["unmarked"]]
    system = teacher.requests[0].messages[0]
    assert system.role == "system"
    assert "####" in system.content


def test_a_retry_asks_with_other_luck(workspace, owner, teacher):
    seeds.insert(workspace.db, [seed("wrong")])
    done = run(workspace, owner, n=1)
    teacher.replies = {"wrong": RIGHT}
    again = workspace.generate.retry(owner, done.id)
    done = workspace.jobs.wait(owner, again.id, timeout_s=60)
    assert (done.result["answered"], done.result["failed"]) == (1, 0)
    first, second = (request.sampling.seed for request in teacher.requests)
    assert first != second


def test_seeds_without_a_reference_are_refused_in_words(workspace, owner, teacher):
    seeds.insert(workspace.db, [seed("no reference", None)])
    with pytest.raises(InvalidInput, match="reference answer"):
        run(workspace, owner, n=1, sampling=SamplingParams())


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (seed("q", "Paris"), VerifierKind.EXACT),
        (seed("q", "#### 18"), VerifierKind.MATH),
        (seed("q", r"\frac{a}{b}"), VerifierKind.MATH),
        (seed("q", None, tests="assert f(1) == 2"), VerifierKind.UNIT_TESTS),
    ],
)
def test_what_a_seed_is_held_against(made, kind):
    assert held_against(made)[0] is kind


def test_a_resume_leaves_alone_what_did_not_hold_and_a_retry_asks_it(workspace, owner, teacher):
    seeds.insert(workspace.db, [seed("wrong"), seed("right")])
    done = run(workspace, owner, n=1)
    assert (done.result["answered"], done.result["failed"], teacher.calls) == (1, 1, 2)
    workspace.jobs.resume(owner, done.id)
    done = workspace.jobs.wait(owner, done.id, timeout_s=60)
    assert (done.result["failed"], teacher.calls) == (1, 2)
    workspace.generate.retry(owner, done.id)
    done = workspace.jobs.wait(owner, done.id, timeout_s=60)
    assert (done.result["failed"], teacher.calls) == (1, 3)
