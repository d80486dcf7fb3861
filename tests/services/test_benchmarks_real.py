"""The real lm-evaluation-harness on small tasks of our own: no network, no stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Job, JobState, RunState, TeacherConfig, TeacherKind
from distill_studio.core.records.benchmark import BenchmarkRun, BenchmarkSettings
from distill_studio.core.settings import Settings
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import Workspace
from tests.harness_tasks import LANDS, PYTHON, skip_without_harness, write_choice, write_text
from tests.stub_openai import Answer, StubServer, completion
from tests.tiny_model import build_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OWNER = Actor(user="owner", role=Role.OWNER)
STARTER = "base:smollm2-135m-instruct"
PLAIN = BenchmarkSettings(chat_template=False)
SECRET = "sk-not-to-be-seen"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter, loud enough to change answers, on a tiny random model."""
    skip_without_harness()
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("adapter")
    base = build_tiny_model(folder / "base")
    model = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(str(folder / "adapter"))
    AutoTokenizer.from_pretrained(str(base)).save_pretrained(str(folder / "adapter"))
    return folder / "adapter"


@pytest.fixture
def open_studio(tmp_path: Path, starter_cache: Path) -> Iterator[Callable[[], Studio]]:
    """Opens the same data folder; whatever is open at the end is closed."""
    skip_without_harness()
    opened: list[Studio] = []

    def again() -> Studio:
        settings = Settings(home=tmp_path / "home", cache=starter_cache, lm_eval_python=PYTHON)
        opened.append(build_studio(settings))
        return opened[-1]

    yield again
    if opened:
        opened[-1].close()


def add(bench: Workspace, files: list[Path]) -> None:
    uploads = [bench.studio.uploads.add(file) for file in files]
    bench.benchmarks.add_tasks(OWNER, uploads)


def teach(bench: Workspace, folder: Path) -> str:
    """A model folder as a teacher of this machine; its card's id."""
    bench.teachers.save(
        OWNER, TeacherConfig(name="mine", kind=TeacherKind.LOCAL, model=str(folder))
    )
    return "teacher:mine"


def finished(bench: Workspace, jobs: list[Job]) -> None:
    for job in jobs:
        ended = bench.jobs.wait(OWNER, job.id, timeout_s=600)
        logs = "".join(bench.benchmarks.log(OWNER, job.params["run_id"], 60))
        assert ended.state is JobState.DONE, f"{ended.error}\n{logs}"


def likelier(folder: Path) -> float:
    """The share of right choices by the model itself, in fp32, apart from the harness."""
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    model = AutoPeftModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    cities = list(LANDS.values())

    def weigh(land: str, city: str) -> float:
        start = tokenizer(f"The capital of {land} is").input_ids
        whole = tokenizer(f"The capital of {land} is {city}").input_ids
        with torch.no_grad():
            logits_TV = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        places = range(len(start), len(whole))
        return sum(float(logits_TV[at - 1, whole[at]]) for at in places)

    wins = [
        weigh(land, city) > weigh(land, cities[(place + 3) % 10])
        for place, (land, city) in enumerate(LANDS.items())
    ]
    return sum(wins) / len(wins)


def test_an_adapter_and_a_base_on_own_tasks_end_to_end(open_studio, adapter, tmp_path) -> None:
    bench = open_studio().workspace("main")
    add(bench, write_choice(tmp_path / "mine") + write_text(tmp_path / "mine"))
    teacher = teach(bench, adapter)
    tasks = ["capital_choice", "capital_text"]
    finished(bench, bench.benchmarks.run(OWNER, [teacher, STARTER], tasks, PLAIN))
    board = bench.benchmarks.table(OWNER)
    assert board.tasks == tasks
    assert board.rows[0].card.label == "mine"
    mine, base = (row.cells["capital_choice"] for row in board.rows)
    assert (mine.score.n, mine.score.total, mine.is_smoke) == (10, 10, False)
    # the harness computes in this machine's number format: one choice in ten may be a near tie
    assert mine.score.value == pytest.approx(likelier(adapter), abs=0.11)
    assert base.score.value >= 0.8  # it knows its capitals
    assert base.score.fingerprint == mine.score.fingerprint
    assert base.teacher
    assert base.teacher.verdict in ("better", "overlap", "unknown")
    run = bench.benchmarks.get(OWNER, mine.run_id)
    assert run.facts["packages"]["lm_eval"] == "0.4.13"
    assert run.facts["packages"]["transformers"]
    assert len(run.facts["model"]["sha256"]) == 64
    metrics = {score.metric for score in bench.benchmarks.scores(OWNER, run.id)}
    assert metrics == {"acc", "exact_match"}
    left = {p.name for p in (bench.folder / "benchmarks" / "runs" / run.id).iterdir()}
    assert left == {"run.json", "events.jsonl", "stdout.log", "results.json"}


def test_a_data_set_that_is_not_here_is_named(open_studio, adapter, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    bench = open_studio().workspace("main")
    (job,) = bench.benchmarks.run(OWNER, [teach(bench, adapter)], ["gsm8k"])
    ended = bench.jobs.wait(OWNER, job.id, timeout_s=300)
    assert ended.state is JobState.FAILED
    assert "openai/gsm8k" in ended.error
    assert "HF_HUB_OFFLINE" in ended.error


def test_a_server_is_asked_and_its_key_is_written_nowhere(
    open_studio, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("STUB_KEY", SECRET)

    refused = iter([True])

    def reply(body: dict[str, Any]) -> Answer:
        if next(refused, False):  # the harness prints such an error with the headers that it sent
            return Answer({"error": {"message": f"Slow down, {SECRET}."}}, status=429)
        asked = body["messages"][-1]["content"]
        return Answer(completion(next(city for land, city in LANDS.items() if land in asked)))

    server = StubServer(reply)
    try:
        bench = open_studio().workspace("main")
        add(bench, write_text(tmp_path / "mine"))
        bench.teachers.save(
            OWNER,
            TeacherConfig(
                name="far",
                kind=TeacherKind.OPENAI,
                model="m",
                base_url=server.url,
                key_env="STUB_KEY",
                concurrency=4,
            ),
        )
        smoke = BenchmarkSettings(limit=4)
        finished(bench, bench.benchmarks.run(OWNER, ["teacher:far"], ["capital_text"], smoke))
    finally:
        server.close()
    cell = bench.benchmarks.table(OWNER).rows[0].cells["capital_text"]
    assert (cell.score.value, cell.score.n, cell.score.total) == (1.0, 4, 10)
    assert cell.is_smoke
    assert {headers.get("authorization") for headers in server.headers} == {f"Bearer {SECRET}"}
    assert len(server.requests) == 5
    run = bench.benchmarks.page(OWNER)[0]
    assert "***" in bench.benchmarks.log(OWNER, run.id, 1000)
    for path in (bench.folder / "benchmarks").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


def test_a_stopped_run_goes_on_and_a_running_one_is_found_after_a_restart(
    open_studio, adapter, tmp_path
) -> None:
    studio = open_studio()
    bench = studio.workspace("main")
    add(bench, write_choice(tmp_path / "mine", times=200))
    one_by_one = PLAIN.model_copy(update={"batch": 1})
    (job,) = bench.benchmarks.run(OWNER, [teach(bench, adapter)], ["capital_choice"], one_by_one)
    await_answers(bench, job, 200)
    run = bench.benchmarks.page(OWNER)[0]
    bench.benchmarks.stop(OWNER, run.id)
    assert bench.jobs.wait(OWNER, job.id, timeout_s=60).state is JobState.CANCELLED
    first = bench.benchmarks.get(OWNER, run.id)
    assert not is_running(first.pid)

    bench.benchmarks.resume(OWNER, run.id)
    again = await_child(bench, first)
    studio.close()  # as when the app stops: the child goes on
    bench = open_studio().workspace("main")
    finished(bench, [bench.jobs.get(OWNER, job.id)])
    done = bench.benchmarks.get(OWNER, run.id)
    assert (done.state, done.pid) == (RunState.DONE, again.pid)
    log = bench.benchmarks.log(OWNER, run.id, 1000)
    cached = [line for line in log.splitlines() if "Cached requests:" in line]
    counts = [int(line.split("Cached requests: ")[1].split(",")[0]) for line in cached]
    assert counts[0] == 0
    assert counts[-1] >= 200
    assert bench.benchmarks.table(OWNER).rows[0].cells["capital_choice"].score.n == 2000


def await_answers(bench: Workspace, job: Job, count: int) -> None:
    """Until the harness has so many answers."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        seen = bench.jobs.get(OWNER, job.id)
        if seen.note.startswith("Running") and seen.done >= count:
            return
        assert seen.state in (JobState.QUEUED, JobState.RUNNING), seen.error
        time.sleep(0.05)
    pytest.fail("the harness gave no answers")


def await_child(bench: Workspace, former: BenchmarkRun) -> BenchmarkRun:
    """Until another child of the run is there."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        run = bench.benchmarks.get(OWNER, former.id)
        if run.pid != former.pid and is_running(run.pid):
            return run
        time.sleep(0.05)
    pytest.fail("no other child was started")


def is_running(pid: int | None) -> bool:
    """Whether that process is there and no zombie."""
    if pid is None or not psutil.pid_exists(pid):
        return False
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
