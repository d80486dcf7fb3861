"""What can go wrong with a rented machine: who may, bad hours of the Hub, ends, what comes back.

Nothing is trained here: the Jobs of the fake Hub stay as they are, and the test says what the
other machine would have.
"""

import hashlib
import json
import time

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed
from distill_studio.core.records import JobState, Run, RunState, TeacherConfig, TeacherKind
from distill_studio.core.settings import Settings
from distill_studio.distill.events import Done, Note, Started, Step
from distill_studio.services.jobs import NeedsKey
from distill_studio.services.workspace import Workspace
from tests.fake_hub import FakeHub
from tests.fake_hub.jobs import FakeJob
from tests.hub_data import put
from tests.services.test_distill import freeze_some, is_over, spec, wait_for
from tests.services.test_remote import until
from tests.tiny_model import build_tiny_model

TOKEN = "hf_annsTokenThatNobodyMayEverSee"
BEGUN = Started(
    total=3, train_rows=9, validation_rows=2, device="cuda", dtype="bfloat16", parameters=9,
    trainable=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_model(tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture(autouse=True)
def ann(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ann's token in the environment; Jobs wait for what the test says."""
    hub.user("ann", TOKEN)
    hub.runs_jobs = False
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("distill_studio.services.remote_work.POLL_S", 0.1)
    monkeypatch.setattr("distill_studio.services.remote_work._LONGEST_POLL_S", 0.2)


@pytest.fixture
def snapshot(workspace: Workspace, owner: Actor) -> str:
    return freeze_some(workspace, owner)


@pytest.fixture
def far(workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub) -> "Far":
    """A run whose Job has begun."""
    workspace.remote.start(owner, spec(snapshot, tiny, name="far"), "a10g-small", 30)
    return Far(workspace, owner, hub)


class Far:
    """The other machine, and what the app knows of it."""

    def __init__(
        self, workspace: Workspace, owner: Actor, hub: FakeHub, *, is_job: bool = True
    ) -> None:
        until(lambda: bool(hub.jobs) or not is_job, 120)
        self.workspace, self.owner, self.hub = workspace, owner, hub
        self.parts = 0

    @property
    def job(self) -> FakeJob:
        return list(self.hub.jobs.values())[-1]

    @property
    def run(self) -> Run:
        return self.workspace.distill.get(self.owner, "far")

    def says(self, *lines: object, **files: bytes) -> None:
        """One commit of the other machine: a part of events, and other files."""
        self.parts += 1
        attempt = f"attempts/{len(self.hub.jobs) or 1}"
        text = "".join(
            (one if isinstance(one, str) else one.model_dump_json()) + "\n"  # type: ignore[attr-defined]
            for one in lines
        )
        repo = next(repo for (kind, _), repo in self.hub.repos.items() if kind == "model")
        put(repo, {f"{attempt}/events/{self.parts:06d}.jsonl": text} | {
            name.replace("__", "/").replace("ATTEMPT", attempt): content
            for name, content in files.items()
        })  # fmt: skip

    def makes(self, files: dict[str, bytes], *, wrong: str = "") -> None:
        """The model and "done", in one commit."""
        marks = {
            name: {
                "sha256": hashlib.sha256(content + wrong.encode()).hexdigest(),
                "size_bytes": len(content),
            }
            for name, content in files.items()
        }
        repo = next(repo for (kind, _), repo in self.hub.repos.items() if kind == "model")
        put(repo, files)
        result = json.dumps({"files": marks}).encode()
        done = Done(metrics={"steps": 3, "tokens_per_s": 900.0, "seconds": 30.0, "odd": [1]})
        self.says(done, **{"ATTEMPT__result.json": result})

    def ends(self, stage: str = "COMPLETED", message: str | None = None) -> Run:
        self.job.message, self.job.stage = message, stage
        return self.over()

    def over(self) -> Run:
        run = wait_for(self.workspace, self.owner, "far", is_over, 120)
        self.workspace.jobs.wait(self.owner, run.job_id, 120)
        return self.run


MODEL = {"model/config.json": b"{}", "model/model.safetensors": b"weights"}


def test_a_quote_says_what_it_costs_at_most(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub
) -> None:
    assert next(one.name for one in workspace.remote.flavors(owner)) == "cpu-basic"
    found = workspace.remote.estimate(owner, spec(snapshot, tiny), "a10g-largex2")
    assert not found.is_measured
    assert found.minutes[0] < found.minutes[1] < found.limit_minutes
    assert found.usd[1] == pytest.approx(found.minutes[1] * 0.05)
    assert found.limit_usd == pytest.approx(found.limit_minutes * 0.05)
    assert "idle_gpus" in [one.code for one in found.findings]
    many = spec(snapshot, tiny, devices=4)
    refused = workspace.remote.estimate(owner, many, "a10g-largex2")
    assert [one.code for one in refused.findings if one.level == "error"] == ["devices"]
    with pytest.raises(InvalidInput, match="wants 4 devices"):
        workspace.remote.start(owner, many, "a10g-largex2")
    with pytest.raises(InvalidInput, match="'h900' is no machine"):
        workspace.remote.estimate(owner, spec(snapshot, tiny), "h900")
    assert not hub.jobs
    assert not hub.repos


def test_only_owners_rent(
    workspace: Workspace, snapshot: str, tiny: str, monkeypatch: pytest.MonkeyPatch, owner: Actor
) -> None:
    reviewer = Actor(user="r", role=Role.REVIEWER)
    with pytest.raises(NotAllowed):
        workspace.remote.start(reviewer, spec(snapshot, tiny), "cpu-basic")
    workspace.remote.start_elsewhere(owner, spec(snapshot, tiny, name="far"))
    workspace.distill.stop(owner, "far")
    run = wait_for(workspace, owner, "far", is_over, 120)
    with pytest.raises(NotAllowed):
        workspace.distill.resume(reviewer, "far")
    workspace.jobs.wait(owner, run.job_id, 120)
    with pytest.raises(NotAllowed):
        workspace.jobs.resume(reviewer, run.job_id)
    with pytest.raises(Conflict, match="not resumed by its job"):
        workspace.jobs.resume(owner, run.job_id)
    workspace.distill.delete(owner, "far")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(NeedsKey, match="no token"):
        workspace.remote.start_elsewhere(owner, spec(snapshot, tiny))
    assert workspace.distill.page(owner) == []


def test_a_quote_says_that_checkpoints_stay_there(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str
) -> None:
    plain = workspace.remote.estimate(owner, spec(snapshot, tiny), "cpu-basic")
    kept = workspace.remote.estimate(owner, spec(snapshot, tiny, keep_checkpoints=2), "cpu-basic")
    assert "checkpoints" not in [one.code for one in plain.findings]
    assert "checkpoints" in [one.code for one in kept.findings]


def test_a_teacher_behind_a_server_stays_here(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str
) -> None:
    served = TeacherConfig(
        name="big", kind=TeacherKind.OPENAI, model="m", base_url="http://127.0.0.1:1/v1"
    )
    workspace.teachers.save(owner, served)
    wanted = spec(snapshot, tiny, method="logit", teacher="server:big", signal="cache")
    with pytest.raises(InvalidInput, match="another machine cannot reach"):
        workspace.remote.start(owner, wanted, "cpu-basic")


@pytest.mark.parametrize("fields", [{"role": "read"}, {"role": "fineGrained", "scope": ()}])
def test_a_token_without_the_right(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub, fields: dict
) -> None:
    hub.user("ann", TOKEN, **fields)
    workspace.remote.start(owner, spec(snapshot, tiny, name="far"), "cpu-basic")
    run = wait_for(workspace, owner, "far", is_over, 120)
    assert run.state is RunState.FAILED
    assert "may" in run.error
    assert not hub.jobs


def test_a_token_that_may_write_but_not_run_jobs(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub
) -> None:
    hub.fail("/api/jobs/ann$", 403, method="POST", message="missing permissions: job.write")
    workspace.remote.start(owner, spec(snapshot, tiny, name="far"), "cpu-basic")
    run = wait_for(workspace, owner, "far", is_over, 120)
    assert "may not run Jobs" in run.error
    assert "job.write" in run.error
    hub.has_billing = False
    workspace.distill.resume(owner, "far")
    assert "wants credit" in wait_for(workspace, owner, "far", is_over, 120).error
    assert not hub.jobs


def test_a_start_whose_answer_is_lost_is_paid_once(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub
) -> None:
    hub.fail("/api/jobs/ann$", method="POST", cuts="after")
    hub.fail("/api/jobs/ann$", 503, method="GET", after=1)
    workspace.remote.start(owner, spec(snapshot, tiny, name="far"), "cpu-basic")
    far = Far(workspace, owner, hub)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    assert len(hub.jobs) == 1
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE


def test_events_come_in_through_a_bad_hour_of_the_hub(far: Far) -> None:
    far.says(BEGUN, Step(step=1, total=3, loss=2.5, lr=0.1))
    until(lambda: far.run.metrics.get("step") == 1, 120)
    for status in (429, 500, 503):
        far.hub.fail("/api/jobs/ann/", status, headers={"Retry-After": "0"}, times=2)
        far.hub.fail("/tree/", status, times=2)
    far.hub.fail("/resolve/", cuts="middle")
    far.says(Step(step=2, total=3, loss=2.0, lr=0.1))
    until(lambda: far.run.metrics.get("step") == 2, 120)
    curve = far.workspace.distill.curve(far.owner, "far")
    assert [point.value for point in curve.train] == [2.5, 2.0]
    far.job.started -= 61  # seconds ago
    far.makes(MODEL)
    run = far.ends()
    assert run.state is RunState.DONE
    assert (run.metrics["steps"], run.metrics["flavor"]) == (3, "a10g-small")
    assert "odd" not in run.metrics


def test_the_meter_counts_begun_minutes(far: Far) -> None:
    assert far.job.order["environment"]["DISTILL_STUDIO_REMOTE_DEVICE"] == "cuda"
    far.job.stage, far.job.started = "RUNNING", far.job.started or time.time() - 61
    until(lambda: far.run.metrics.get("paid_minutes") == 2, 120)
    status = far.workspace.remote.status(Actor(user="v", role=Role.VIEWER), "far")
    assert status is not None
    assert status.usd == pytest.approx(2 * 0.016667)
    assert (status.limit_minutes, status.limit_usd) == (30, pytest.approx(30 * 0.016667))
    run = far.ends("CANCELED")
    assert (run.state, run.metrics["usd"]) == (RunState.STOPPED, pytest.approx(0.0333, abs=1e-4))
    assert "cancelled on the Hub" in run.error


def test_a_job_that_reaches_its_limit_says_so_and_may_get_a_longer_one(far: Far) -> None:
    far.job.started = time.time() - 60
    far.says(BEGUN)
    until(lambda: far.run.metrics.get("total") == 3, 120)
    run = far.ends("ERROR", "Job timeout")
    assert run.state is RunState.FAILED
    assert "time limit of 30 minutes" in run.error
    spent = far.workspace.remote.status(far.owner, "far")
    far.workspace.remote.resume(far.owner, "far", limit_minutes=90)
    until(lambda: len(far.hub.jobs) == 2, 120)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    assert far.job.order["timeoutSeconds"] == 90 * 60
    status = far.workspace.remote.status(far.owner, "far")
    assert status is not None
    assert spent is not None
    assert (status.attempt, status.usd) == (2, spent.usd)
    far.parts = 0
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE
    assert far.workspace.distill.events(far.owner, "far")[0]["kind"] == "started"


def test_a_job_that_dies_before_the_training_shows_its_last_lines(far: Far) -> None:
    far.job.lines = ["Collecting torch", f"\x1b[31mERROR\x1b[0m: no space, {TOKEN}", ""]
    run = far.ends("ERROR", "Job failed with exit code: 1. Reason: Error")
    assert run.state is RunState.FAILED
    assert "exit code: 1" in run.error
    assert "ERROR: no space, [token]" in run.error
    log = far.workspace.distill.log(far.owner, "far")
    assert "Collecting torch" in log
    assert TOKEN not in log


def test_a_failed_training_says_why_in_its_own_words(far: Far) -> None:
    far.says(
        BEGUN,
        '{"kind": "failed", "message": "The memory ran out.", "hint": "Halve the batch."}',
        **{"ATTEMPT__log.txt": b"CUDA out of memory"},
    )
    run = far.ends("ERROR", "Job failed with exit code: 1. Reason: Error")
    assert (run.state, run.error) == (RunState.FAILED, "The memory ran out. Halve the batch.")
    assert "CUDA out of memory" in far.workspace.distill.log(far.owner, "far")


def test_stop_cancels_and_a_token_that_is_refused_waits_for_another(far: Far) -> None:
    until(lambda: far.run.state is RunState.RUNNING, 120)
    del far.hub.tokens[TOKEN]
    job_id = far.run.job_id
    until(lambda: far.workspace.jobs.get(far.owner, job_id).state is JobState.NEEDS_KEY, 120)
    assert far.run.state is RunState.RUNNING
    assert TOKEN not in far.run.error
    assert "its model cannot come back. Stop cancels it." in far.run.error
    far.workspace.hub.token(far.owner, far.hub.user("ann", "hf_another"))
    until(lambda: far.workspace.jobs.get(far.owner, job_id).state is JobState.RUNNING, 120)
    far.hub.fail("/cancel$", 503, times=7)  # more than are tried again at once
    far.workspace.distill.stop(far.owner, "far")
    assert far.over().state is RunState.STOPPED
    assert far.job.stage == "CANCELED"


def test_a_restart_finds_the_job_again_and_doubles_nothing(
    settings: Settings, owner: Actor, tiny: str, hub: FakeHub
) -> None:
    first = build_studio(settings)
    workspace = first.workspace("main")
    workspace.remote.start(
        owner, spec(freeze_some(workspace, owner), tiny, name="far"), "cpu-basic"
    )
    far = Far(workspace, owner, hub)
    far.says(BEGUN, Step(step=1, total=3, loss=2.5, lr=0.1))
    until(lambda: far.run.metrics.get("step") == 1, 120)
    first.close()
    events = settings.home / "workspaces" / "main" / "runs" / "far" / "events.jsonl"
    with events.open("ab") as file:  # the part that was being written when it was killed
        file.write(b'{"kind":"step","step":2,"total":3,"loss":1.9,"lr":0.1}\n{"ki')
    far.says(Step(step=2, total=3, loss=2.0, lr=0.1))
    second = build_studio(settings)
    far.workspace = second.workspace("main")
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE
    curve = far.workspace.distill.curve(owner, "far")
    assert [point.value for point in curve.train] == [2.5, 2.0]
    assert len(hub.jobs) == 1
    second.close()


def test_foreign_lines_are_checked_and_cut(far: Far) -> None:
    far.says(
        BEGUN,
        '{"kind": "boom"}',
        "no JSON",
        '{"kind": "note", "message": "' + "x" * 200_000 + '"}',
        '{"kind": "step", "step": "<img>", "total": 3, "loss": 1, "lr": 1}',
        Note(message="<img src=x>"),
    )
    until(lambda: far.run.metrics.get("total") == 3, 120)
    kinds = [one["kind"] for one in far.workspace.distill.events(far.owner, "far")]
    assert kinds == ["started", "note"]
    far.ends("CANCELED")


def test_what_is_too_large_is_not_downloaded(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill_studio.services.remote_events.MOST_PART_BYTES", 5000)
    far.says(Note(message="x" * 60_000))
    far.says(BEGUN, Step(step=1, total=3, loss=2.5, lr=0.1))
    until(lambda: far.run.metrics.get("step") == 1, 120)
    assert far.job.stage == "SCHEDULING", "the Job goes on"
    put(next(iter(far.hub.repos.values())), {"model/model.safetensors": b"w" * 100_000})
    marks = {"model/model.safetensors": {"sha256": "0" * 64, "size_bytes": 7}}
    result = json.dumps({"files": marks}).encode()
    far.says(Done(metrics={}), **{"ATTEMPT__result.json": result})
    assert "did not arrive as it was made" in far.ends().error
    asked = [path for method, path in far.hub.requests if method == "GET" and "/resolve/" in path]
    assert any(path.endswith("000002.jsonl") for path in asked)
    assert not any(path.endswith(("000001.jsonl", ".safetensors")) for path in asked)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (MODEL | {"model/pytorch_model.bin": b"pickle"}, "no file that a training makes"),
        (MODEL | {"model/../../run.json": b"{}"}, "no file that a training makes"),
        (MODEL | {"run.json": b"{}"}, "no file that a training makes"),
        ({"adapter/adapter_model.safetensors": b"few"}, "no whole model"),
    ],
)
def test_what_no_training_makes_is_not_taken(far: Far, files: dict[str, bytes], said: str) -> None:
    far.makes(files)
    run = far.ends()
    assert run.state is RunState.FAILED
    assert said in run.error
    folder = far.workspace.folder / "runs" / "far"
    assert not (folder / ".arriving").exists()
    assert json.loads((folder / "run.json").read_text())["name"] == "far"


def test_a_damaged_model_is_fetched_again_and_nothing_trains_twice(far: Far) -> None:
    far.makes(MODEL, wrong="other bytes")
    run = far.ends()
    assert run.state is RunState.FAILED
    assert "did not arrive as it was made" in run.error
    attempt = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        for name, content in MODEL.items()
    }
    repo = next(iter(far.hub.repos.values()))
    put(repo, {"attempts/1/result.json": json.dumps({"files": attempt})})
    far.workspace.distill.resume(far.owner, "far")
    until(lambda: far.run.state is RunState.DONE, 120)
    assert len(far.hub.jobs) == 1
    model = far.workspace.distill.student_folder("far")
    assert (model / "model.safetensors").read_bytes() == b"weights"


def test_a_model_that_never_comes_is_trained_anew(far: Far) -> None:
    far.says(BEGUN, Done(metrics={"steps": 3}))  # and no list of what was made
    run = far.ends()
    assert run.state is RunState.FAILED
    assert "Resume trains it anew" in run.error
    far.workspace.distill.resume(far.owner, "far")
    until(lambda: len(far.hub.jobs) == 2, 120)
    until(lambda: far.run.state is RunState.RUNNING, 120)
    far.parts = 0
    far.makes(MODEL, wrong="other bytes")
    assert "downloaded again" in far.ends().error
    for jobs in (2, 3):  # once it is fetched again, then trained anew
        far.workspace.distill.resume(far.owner, "far")
        until(lambda: len(far.hub.jobs) == 3 or is_over(far.run), 120)
        assert len(far.hub.jobs) == jobs
        if jobs == 2:
            far.over()
    until(lambda: far.run.state is RunState.RUNNING, 120)
    far.parts = 0
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE


def test_another_machine_runs_the_copied_command(
    workspace: Workspace, owner: Actor, snapshot: str, tiny: str, hub: FakeHub
) -> None:
    workspace.remote.start_elsewhere(owner, spec(snapshot, tiny, name="far"))
    until(lambda: workspace.distill.get(owner, "far").state is RunState.RUNNING, 120)
    status = workspace.remote.status(owner, "far")
    assert status is not None
    assert f"hf download {status.repo} --revision " in status.command
    assert TOKEN not in status.command
    assert "env -u HF_TOKEN python -m pip install" in status.command
    assert status.command.startswith(f"export HF_ENDPOINT={hub.url} && there=$(mktemp -d ")
    with pytest.raises(Conflict, match="it is running"):
        workspace.distill.resume(owner, "far")
    workspace.distill.stop(owner, "far")
    assert wait_for(workspace, owner, "far", is_over, 120).state is RunState.STOPPED
    assert not hub.jobs


def test_a_run_that_ended_there_makes_the_next_quote_a_measured_one(
    far: Far, snapshot: str, tiny: str
) -> None:
    far.makes(MODEL)
    assert far.ends().state is RunState.DONE
    alike = spec(snapshot, tiny, max_steps=60)
    found = far.workspace.remote.estimate(far.owner, alike, "a10g-small")
    assert found.is_measured
    assert found.minutes == (10, 21)  # 60 updates of 10 s, .8 to 1.3 times, 2 to 8 minutes before
    other = far.workspace.remote.estimate(far.owner, alike, "a10g-largex2")
    assert not other.is_measured
    for fields in ({"max_length": 128}, {"eval_every": 1}, {"eval_rows": 1}, {"lora_r": 2}):
        unlike = spec(snapshot, tiny, max_steps=60, **fields)
        assert not far.workspace.remote.estimate(far.owner, unlike, "a10g-small").is_measured
