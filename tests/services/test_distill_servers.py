"""Teachers behind servers in a real studio: listed, checked, and their key kept out of the run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import (
    Decision,
    DecisionKind,
    JobState,
    Message,
    Pair,
    RunState,
    Seed,
    TeacherConfig,
    TeacherKind,
)
from distill_studio.distill.spec import TrainSpec
from distill_studio.services.workspace import Workspace
from distill_studio.store import decisions, pairs, seeds
from tests.stub_openai import StubServer
from tests.stub_vllm import VllmLike
from tests.tiny_model import WORDS, build_tiny_model

KEY = "sk-very-secret-0123456789"
VIEWER = Actor(user="v", role=Role.VIEWER)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_model(tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture
def stub(tiny: str) -> Iterator[StubServer]:
    server = StubServer(VllmLike(Path(tiny)))
    server.owner = "vllm"
    yield server
    server.close()


@pytest.fixture
def snapshot(workspace: Workspace, owner: Actor) -> str:
    made = []
    for number in range(12):
        messages = (Message(role="user", content=f"say {WORDS[number % 11]} {number}"),)
        seed = Seed(messages=messages)
        seed_id = seeds.insert(workspace.db, [seed])[seed.id]
        answer = f"{WORDS[number % 11]} sun moon {number}"
        made.append(Pair(seed_id=seed_id, messages=messages, job_id=f"j{number}", answer=answer))
    pairs.insert(workspace.db, made)
    accepted = [Decision(id=f"d-{p.id}", pair_id=p.id, kind=DecisionKind.ACCEPT) for p in made]
    decisions.record(workspace.db, owner.user, accepted)
    workspace.freeze.create(owner, "snap", "prompt_completion", validation_share=0.2)
    return "snap"


def add(workspace: Workspace, owner: Actor, url: str, key: str = "", **fields: object) -> None:
    common = {"name": "Big", "kind": TeacherKind.OPENAI, "model": "stub-1", "base_url": url}
    workspace.teachers.save(owner, TeacherConfig(**(common | fields)), key)


def spec(student: str, **fields: object) -> TrainSpec:
    common = {"snapshot": "snap", "method": "logit", "teacher": "server:Big", "max_steps": 2}
    common |= {"max_length": 64, "eval_every": 2, "dtype": "fp32", "top_k": 16}
    return TrainSpec(student=student, **(common | fields))


def test_only_what_may_be_vllm_is_offered(workspace: Workspace, owner: Actor) -> None:
    kinds = {choice.kind for choice in workspace.distill.teachers(VIEWER)}
    assert "server" not in kinds
    add(workspace, owner, "http://127.0.0.1:8000/v1")
    add(workspace, owner, "https://api.openai.com/v1", name="Hosted")
    add(workspace, owner, "http://10.0.0.7:9000/v1", name="Far")
    found = [c for c in workspace.distill.teachers(VIEWER) if c.kind == "server"]
    assert [c.id for c in found] == ["server:Big", "server:Far"]
    students = workspace.distill.students(VIEWER)
    assert not [c for c in students if c.kind == "server"], "it cannot be trained"


def test_preflight_of_a_run(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, stub: StubServer
) -> None:
    add(workspace, owner, stub.url)
    found = workspace.distill.preflight(owner, spec(tiny))
    assert not [f for f in found if f.level == "error"], found
    told = next(f for f in found if f.code == "server")
    assert "its own files" not in told.message
    assert "not on this machine" in told.message
    assert any(f.code == "store" for f in found), "stored, though nothing was said of it"
    hot = workspace.distill.preflight(owner, spec(tiny, temperature=2.0))
    assert any("temperature 1 alone" in f.message for f in hot)
    add(workspace, owner, stub.url, model=tiny)
    stub.models = [tiny]
    here = next(f for f in workspace.distill.preflight(owner, spec(tiny)) if f.code == "server")
    assert "the same model in this process too" in here.message
    stub.close()
    with pytest.raises(InvalidInput, match="cannot be reached"):
        workspace.distill.start(owner, spec(tiny))


def test_a_key_of_a_session_that_is_over_is_told(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, stub: StubServer
) -> None:
    add(workspace, owner, stub.url, KEY)
    assert not [f for f in workspace.distill.preflight(owner, spec(tiny)) if f.level == "error"]
    workspace.studio.session_keys.clear()
    (error,) = [f for f in workspace.distill.preflight(owner, spec(tiny)) if f.level == "error"]
    assert (error.code, "session that is over" in error.message) == ("key", True)


@pytest.mark.slow
def test_a_run_whose_key_is_in_its_environment_alone(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, stub: StubServer
) -> None:
    add(workspace, owner, stub.url, KEY)
    run = workspace.distill.start(owner, spec(tiny, name="served"))
    job = workspace.jobs.wait(owner, run.job_id, 240)
    run = workspace.distill.get(owner, "served")
    assert (job.state, run.state) == (JobState.DONE, RunState.DONE), (run, job)
    assert {h["authorization"] for h in stub.headers} == {f"Bearer {KEY}"}
    told = " ".join(e.get("message", "") for e in workspace.distill.events(owner, "served"))
    assert "told by server:Big: the top 16 cover" in told
    for path in workspace.folder.rglob("*"):
        if path.is_file() and path.suffix != ".duckdb":
            assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in str(run.model_dump())
    assert run.config["teacher"]["server"]["name"] == "Big"
