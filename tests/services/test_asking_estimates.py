"""What asking will cost is known before it starts, where prices are, and stands on the page."""

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import TeacherConfig, TeacherKind
from distill_studio.core.records.suite import SuiteScorer
from distill_studio.judge import rubric_request
from distill_studio.judge.rubric import JUDGE_SAMPLING
from distill_studio.services import operations
from distill_studio.services.teachers import STARTER
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.tabs import evaluate
from tests.services.suite_models import upload
from tests.services.test_arena import compared, fair
from tests.services.test_suite_judging import ROWS
from tests.stub_openai import StubServer

VIEWER = Actor(user="guest", role=Role.VIEWER)
REQUEST: Any = SimpleNamespace(request=object(), session_hash="page", query_params={})
WRITTEN = 2.0  # USD per thousand tokens written, below


@pytest.fixture
def dear(workspace: Workspace, owner: Actor) -> str:
    """A teacher at 1 and 2 USD per thousand tokens, with a limit of 10 USD."""
    config = TeacherConfig(
        name="dear", kind=TeacherKind.OPENAI, model="dear-1", base_url="http://127.0.0.1:1/v1",
        price_in=1000.0, price_out=2000.0, spend_limit_usd=10.0,
    )  # fmt: skip
    workspace.teachers.save(owner, config)
    return f"teacher:{config.name}"


@pytest.fixture
def suite(workspace: Workspace, owner: Actor, tmp_path) -> None:
    made = upload(workspace, tmp_path, ROWS, "why.jsonl")
    workspace.suites.add(owner, made, SuiteScorer.JUDGE)


def test_a_suite_costs_what_teachers_and_the_judge_read_and_write(workspace, owner, dear, suite):
    starter = f"teacher:{STARTER.name}"
    assert workspace.suites.estimate(VIEWER, "why", [starter], judge=STARTER.name) == []
    (one,) = workspace.suites.estimate(VIEWER, "why", [dear], samples=2, max_tokens=100)
    asked = sum(len(row["prompt"]) for row in ROWS)
    assert one.prompt_tokens == pytest.approx(2 * asked / 4, abs=1)
    assert one.completion_tokens == 2 * 12 * 50
    assert one.usd == pytest.approx((one.prompt_tokens + WRITTEN * 1200) / 1000)
    assert not one.is_over_limit

    def judged(models: list[str], **settings: Any) -> Any:
        settings = {"max_tokens": 100, "judge": "dear"} | settings
        (found,) = workspace.suites.estimate(VIEWER, "why", models, **settings)
        return found

    by_judge = judged([starter], most_items=3)
    items = workspace.suites.items(owner, "why", limit=3)
    sent = [rubric_request("", i.messages, "", reference=i.reference).messages for i in items]
    read = sum(len(m.content) for messages in sent for m in messages) + 3 * 4 * 50
    assert by_judge.prompt_tokens == pytest.approx(read / 4, abs=1)
    assert by_judge.completion_tokens == 3 * JUDGE_SAMPLING.max_tokens / 2
    both, double = judged([dear]), judged([dear, starter])
    assert both.teacher == "dear"
    assert both.completion_tokens == 12 * (50 + JUDGE_SAMPLING.max_tokens // 2)
    assert double.completion_tokens == both.completion_tokens + 12 * JUDGE_SAMPLING.max_tokens // 2
    alone = (
        judged([starter]).usd,
        *(each.usd for each in workspace.suites.estimate(VIEWER, "why", [dear], max_tokens=100)),
    )
    assert both.usd == pytest.approx(sum(alone))
    limit = {"spend_limit_usd": (max(alone) + sum(alone)) / 2}
    config = workspace.teachers.config("dear").model_copy(update=limit)
    workspace.teachers.save(owner, config)
    assert not judged([starter]).is_over_limit
    assert judged([dear]).is_over_limit, "together they are more than the limit"


def test_a_judge_of_the_arena_costs_what_it_has_not_read(workspace, owner, dear):
    for number in range(4):
        compared(workspace, number, "big", "small", "raw")
    compared(workspace, 9, "big", "small", big="the same", small="the same")
    assert workspace.arena.estimate(VIEWER, STARTER.name) == []
    (every,) = workspace.arena.estimate(VIEWER, "dear")
    (some,) = workspace.arena.estimate(VIEWER, "dear", most=2)
    assert every.completion_tokens / some.completion_tokens == pytest.approx(4 * 3 / 3, rel=0.01)
    stub = StubServer(fair)
    config = workspace.teachers.config("dear")
    workspace.teachers.save(owner, config.model_copy(update={"base_url": stub.url}))
    job = workspace.arena.judge(owner, "dear", most=2)
    done = workspace.jobs.wait(owner, job.id, timeout_s=60)
    stub.close()
    assert done.state.value == "done", done.error
    assert len(stub.requests) == 2 * 3, "as was estimated"
    (rest,) = workspace.arena.estimate(VIEWER, "dear")
    assert rest.prompt_tokens < every.prompt_tokens
    with pytest.raises(NotFound):
        workspace.arena.estimate(VIEWER, "nobody")


def test_a_set_costs_its_prompts_at_each_teacher(workspace, owner, dear):
    models = [dear, f"teacher:{STARTER.name}"]
    arguments = {"models": models, "prompts": ["x" * 400, "x" * 40], "max_tokens": 20}
    (one,) = operations.call(workspace, owner, "evaluate_estimate", arguments)
    assert (one["prompt_tokens"], one["completion_tokens"]) == (110, 20)
    assert one["usd"] == pytest.approx((110 + WRITTEN * 20) / 1000)
    with pytest.raises(InvalidInput, match="no held-out prompts"):
        workspace.evaluate.estimate(VIEWER, models)


def test_the_page_says_it_before_the_button(studio, workspace, owner, dear, suite):
    compared(workspace, 1, "big", "small")
    with gr.Blocks() as page:
        chooser = gr.Dropdown([workspace.name], value=workspace.name)
        with gr.Tabs() as tabs, gr.Tab("Evaluate"):
            evaluate.build(Ui(studio, lambda request: owner, chooser, tabs))

    def shown(name: str, *values: Any) -> str:
        (made,) = [
            one
            for one in page.fns.values()
            if [getattr(part, "elem_id", "") for part in one.outputs] == [f"evaluate-{name}-cost"]
        ]
        assert len(made.targets) == len(values), "whatever changes"
        assert {event for _, event in made.targets} == {"change"}
        return made.fn(REQUEST, workspace.name, *values)

    said = shown("suite", "why", [dear], "dear", 0, 1, 100)
    assert "dear: about" in said
    assert "USD" in said
    assert shown("suite", None, [], None, None, None, 100) == "", "not complete yet"
    assert "USD" in shown("arena", "dear", 200)
    assert shown("arena", STARTER.name, 200) == ""
    assert shown("set", [dear, f"teacher:{STARTER.name}"], 10, 256) == "", "no prompts yet"
