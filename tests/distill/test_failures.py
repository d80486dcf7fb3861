"""What goes wrong, gone wrong for real where this machine allows it: each tells the way out."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distill_studio.core.errors import StudioError
from distill_studio.distill import failures, worker
from distill_studio.distill.command import worker_argv, working_folder
from distill_studio.distill.config import RunConfig, parse_config
from distill_studio.distill.events import EVENTS_FILE, EventWriter, read_events
from distill_studio.distill.failures import explain
from distill_studio.distill.preflight import check
from tests.distill.run_worker import kinds, run_worker
from tests.tiny_model import build_tiny_model, user, write_snapshot

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("keep_signals")
IN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def losses(events: list[Any]) -> dict[int, float]:
    """The newest loss of each update."""
    return {e.step: e.loss for e in kinds(events, "step")}


# -- what pre-flight refuses, the worker refuses too ----------------------------------------


def without_template(tiny_model: Path, folder: Path) -> Path:
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("method", ["sft", "dpo", "logit"])
def test_a_student_without_a_chat_template(
    make_run: MakeRun, make_config: MakeConfig, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    bare = without_template(tiny_model, tmp_path / "bare")
    student = {"base_folder": str(bare), "base_id": "bare"}
    finding = next(f for f in check(make_config(method, student=student)).findings)
    assert (finding.level, finding.code) == ("error", "no_template")
    failed = run_worker(make_run(method, student=student))[-1]
    assert failed.kind == "failed"
    assert "no chat template" in failed.message
    for told in (finding, failed):
        assert "Choose an instruct model" in told.hint


def test_another_tokenizer(make_run: MakeRun, tiny_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    content = json.loads((other / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    first, second = list(vocab)[40:42]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (other / "tokenizer.json").write_text(json.dumps(content))
    failed = run_worker(make_run("logit", teacher={"folder": str(other), "id": "x"}))[-1]
    assert failed.kind == "failed"
    assert "different tokenizers" in failed.message
    assert "SFT" in failed.hint


def test_all_rows_masked(make_run: MakeRun, make_config: MakeConfig, tmp_path: Path) -> None:
    rows = [{"id": str(n), "messages": [user("sun")]} for n in range(3)]
    data = write_snapshot(tmp_path / "mute", rows, rows)
    fields = {"data": {"folder": str(data), "name": "mute", "format": "messages"}}
    assert [f.code for f in check(make_config(**fields)).findings] == ["nothing_to_learn"]
    failed = run_worker(make_run(**fields))[-1]
    assert failed.kind == "failed"
    assert "None of the 3 rows can be learned" in failed.message
    assert failed.hint


def test_a_signal_stored_by_another_revision_of_the_teacher(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path
) -> None:
    """Its weights change: nothing old is used. Its store is put in the new one's place: refused."""
    import torch
    from transformers import AutoModelForCausalLM

    teacher = build_tiny_model(tmp_path / "teacher", layers=2)
    caches = tmp_path / "caches"
    fields = {
        "teacher": {"folder": str(teacher), "id": "t"},
        "signal": "cache",
        "cache_folder": str(caches),
        "max_steps": 1,
        "samples": 0,
    }
    assert run_worker(make_run("logit", "one", **fields))[-1].kind == "done"
    (old,) = caches.iterdir()
    model = AutoModelForCausalLM.from_pretrained(teacher)
    with torch.no_grad():
        model.model.norm.weight.mul_(1.5)
    model.save_pretrained(teacher)
    assert run_worker(make_run("logit", "two", **fields))[-1].kind == "done"
    (new,) = set(caches.iterdir()) - {old}
    shutil.rmtree(new)
    shutil.copytree(old, new)
    failed = run_worker(make_run("logit", "three", **fields))[-1]
    assert failed.kind == "failed"
    assert "another teacher, or another revision of it" in failed.message
    assert "Capture it anew" in failed.hint


# -- memory ---------------------------------------------------------------------------------


def test_the_gpu_runs_out_of_memory_in_a_step(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised where the GPU raises it, in a forward pass; the way out is then really taken."""
    import torch
    from transformers import LlamaModel

    from distill_studio.distill.presets import lighter_config

    folder = make_run(max_steps=6, save_every=2, batch_size=4, samples=0)
    original, calls = LlamaModel.forward, []

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.training:
            calls.append(1)
            if len(calls) == 4:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(LlamaModel, "forward", forward)
    failed = run_worker(folder)[-1]
    assert (failed.kind, failed.message) == ("failed", failures.NO_GPU_MEMORY)
    assert "half the batch" in failed.hint
    assert failures.is_memory_short(failed.message)
    monkeypatch.undo()
    whole = losses(run_worker(make_run(folder="whole", max_steps=6, save_every=2, samples=0)))
    config = lighter_config(parse_config((folder / "run.json").read_bytes()))
    assert (config.batch_size, config.grad_accumulation) == (2, 2)
    (folder / "run.json").write_text(config.model_dump_json())
    events = run_worker(folder)
    assert events[-1].kind == "done", events[-1]
    assert kinds(events, "started")[-1].resumed_from == 2
    assert losses(events) == pytest.approx(whole, rel=1e-3)


def test_the_cpu_runs_out_of_memory() -> None:
    """A real refusal by the allocator, in a child of little address space."""
    code = """
        import resource, torch
        from distill_studio.distill.failures import explain
        resource.setrlimit(resource.RLIMIT_AS, (2**36, 2**36))  # above what a CUDA build maps
        try:
            torch.zeros(2**35)
        except RuntimeError as err:
            print(explain(err).message)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    found = subprocess.run(argv, cwd=working_folder(), capture_output=True, text=True)
    assert found.stdout.strip() == failures.NO_MEMORY, found.stderr


def test_failures_are_told_in_plain_words() -> None:
    from safetensors import SafetensorError

    full = OSError(28, "No space left on device")
    assert explain(full).message == failures.DISK_FULL
    assert explain(OSError(122, "Disk quota exceeded")).message == failures.DISK_FULL
    rust = "Error while serializing: I/O error: No space left on device (os error 28)"
    assert explain(SafetensorError(rust)).message == failures.DISK_FULL
    wrapped = RuntimeError("could not save")
    wrapped.__cause__ = full
    assert explain(wrapped).message == failures.DISK_FULL
    assert explain(MemoryError()).message == failures.NO_MEMORY
    assert explain(StudioError("a", "b")).hint == "b"
    told = explain(ValueError("so"))
    assert told.message == "ValueError: so"
    assert "log" in told.hint


# -- disk -----------------------------------------------------------------------------------


def can_mount() -> bool:
    """True where an ordinary user may have a small disk of memory of its own."""
    if not shutil.which("unshare"):
        return False
    argv = [*IN_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(argv, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not can_mount(), reason="no small disk can be mounted here")
@pytest.mark.parametrize("fills_at", ["checkpoint", "model"])
def test_the_disk_is_full(make_run: MakeRun, tmp_path: Path, fills_at: str) -> None:
    """The worker in a file system of its own that fills up while it saves; then there is room."""
    last = 4
    source = make_run(max_steps=last, save_every=2, eval_every=4, samples=0, lora=None)
    room = measure_room(make_run, last)
    size = room["checkpoint"] * 3 // 2 if fills_at == "checkpoint" else room["model"]
    script = f"""
        set -e
        mkdir -p "$DISK" && mount -t tmpfs -o size={size // 1024}k none "$DISK"
        cp run.json "$DISK"/
        "$PYTHON" -m distill_studio.distill.worker "$DISK"/run.json >"$OUT"/first.log 2>&1 || true
        cp "$DISK"/events.jsonl "$OUT"/first.jsonl
        ls "$DISK" "$DISK"/checkpoints >"$OUT"/kept.txt
        mount -o remount,size=64m "$DISK"
        "$PYTHON" -m distill_studio.distill.worker "$DISK"/run.json >"$OUT"/second.log 2>&1
        cp "$DISK"/events.jsonl "$OUT"/second.jsonl
    """
    out = tmp_path / "out"
    out.mkdir()
    env = os.environ | {
        "DISK": str(tmp_path / "disk"),
        "OUT": str(out),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(working_folder()),
    }
    argv = [*IN_NAMESPACE, "sh", "-c", textwrap.dedent(script)]
    ended = subprocess.run(argv, cwd=source, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr + (out / "first.log").read_text()[-3000:]
    first, _ = read_events(out / "first.jsonl")
    assert (first[-1].kind, first[-1].message) == ("failed", failures.DISK_FULL), first[-1]
    assert "Free some space, then resume" in first[-1].hint
    kept = (out / "kept.txt").read_text().split()
    expected = [2] if fills_at == "checkpoint" else [2, 4]
    assert sorted(n for n in kept if n.startswith("checkpoint-")) == [
        f"checkpoint-{n}" for n in expected
    ]
    assert not [n for n in kept if n.endswith(".unfinished")]
    second, _ = read_events(out / "second.jsonl")
    assert second[-1].kind == "done", second[-1]
    assert kinds(second, "started")[-1].resumed_from == expected[-1]
    assert sorted(losses(second)) == [1, 2, 3, 4]
    if fills_at == "model":  # saved were the weights of the checkpoint, not those of the start
        evals = [kinds(events, "eval")[-1] for events in (first, second)]
        assert [e.step for e in evals] == [4, 4]
        assert evals[1].loss == pytest.approx(evals[0].loss, rel=1e-4)
        assert kinds(second, "eval")[0].loss != pytest.approx(evals[0].loss, rel=1e-2)


def measure_room(make_run: MakeRun, steps: int) -> dict[str, int]:
    """Bytes that one checkpoint takes, and all but the end of the saved model."""
    import threading

    from distill_studio.distill.events import EventWriter

    folder = make_run(folder="room", max_steps=steps, save_every=2, samples=0, lora=None)
    sizes: dict[str, int] = {}
    original = shutil.rmtree

    def look(path: Any, *args: Any, **kwargs: Any) -> None:
        if Path(path).name == "checkpoints":  # all is saved, now they may go
            one = Path(path) / "checkpoint-2"
            model = (folder / "model" / "model.safetensors").stat().st_size
            sizes["checkpoint"] = tree_size(one)
            sizes["model"] = tree_size(folder) - model // 2
        original(path, *args, **kwargs)

    writer = EventWriter(folder / EVENTS_FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker.shutil, "rmtree", look)
        config = parse_config((folder / "run.json").read_bytes())
        worker.train(config, folder, writer, threading.Event())
    writer.close()
    return sizes


def tree_size(folder: Path) -> int:
    """Bytes in whole pages, as a tmpfs counts."""
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*") if p.is_file())


# -- kill -9 --------------------------------------------------------------------------------


def start_worker(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "stdout.log").open("ab") as log:
        return subprocess.Popen(worker_argv(folder), cwd=working_folder(), stdout=log, stderr=log)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", ["sft", "dpo", "logit"])
def test_a_worker_killed_at_a_random_step_comes_to_the_same_loss(
    make_run: MakeRun, method: str
) -> None:
    student = {"student": {**make_student(make_run), "keep_layers": 2}} if method == "logit" else {}
    fields: dict[str, Any] = {
        "rows": 60,
        "max_steps": 60,
        "save_every": 7,
        "eval_every": 30,
        "samples": 0,
        "learning_rate": 0.003,
        **student,
    }
    whole = run_worker(make_run(method, "whole", **fields))
    assert whole[-1].kind == "done", whole[-1]
    folder = make_run(method, "killed", **fields)
    chance = random.Random(os.urandom(8))
    at = chance.randint(8, 50)
    child = start_worker(folder)
    try:
        deadline = time.monotonic() + 300
        while max(losses(read_events(folder / EVENTS_FILE)[0]), default=0) < at:
            assert time.monotonic() < deadline
            assert child.poll() is None, (folder / "stdout.log").read_text()[-2000:]
            time.sleep(0.001)
        time.sleep(chance.random() * 0.1)  # in the middle of whatever it does now
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    killed, _ = read_events(folder / EVENTS_FILE)
    reached = max(losses(killed))
    if reached < 60:
        assert killed[-1].kind not in ("done", "failed", "stopped")
    events = run_worker(folder)
    assert events[-1].kind == "done", events[-1]
    resumed = kinds(events, "started")[-1].resumed_from
    assert 0 < resumed <= reached, f"killed after update {reached} (wanted {at})"
    assert resumed % 7 == 0
    assert sorted(losses(events)) == list(range(1, 61))
    assert losses(events) == pytest.approx(losses(whole), rel=1e-3), f"killed after {reached}"
    assert events[-1].metrics["loss_after"] == pytest.approx(
        whole[-1].metrics["loss_after"], rel=1e-3
    )


def make_student(make_run: MakeRun) -> dict[str, Any]:
    config = json.loads((make_run(folder="probe") / "run.json").read_text())
    return dict(config["student"])


@pytest.mark.parametrize("what", ["grad_norm", "loss"])
def test_what_is_no_number_ends_a_run_before_anything_is_saved(tmp_path: Path, what: str) -> None:
    """JSON has no NaN: such an event would be dropped, and older figures shown as the last."""
    from distill_studio.distill.trainers.callback import Diverged, EventCallback

    writer = EventWriter(tmp_path / "events.jsonl")
    callback = EventCallback(writer, threading.Event(), "cpu", [], 4, None)
    state = SimpleNamespace(global_step=3, max_steps=9)
    logs = {"loss": 1.0, "grad_norm": 1.0}
    callback.on_log(None, state, None, logs)
    with pytest.raises(Diverged, match="no longer a number at update 3"):
        callback.on_log(None, state, None, logs | {what: float("nan")})
    with pytest.raises(Diverged, match="held-out loss is no longer a number"):
        callback.on_evaluate(None, state, None, {"eval_loss": float("inf")})
    writer.close()
    assert len(read_events(tmp_path / "events.jsonl")[0]) == 1


def test_kto_keeps_two_rows_at_a_time() -> None:
    from distill_studio.distill.presets import passes_of_lighter

    assert [passes_of_lighter("kto", batch) for batch in (1, 2, 3, 4, 6)] == [0, 0, 0, 2, 2]
    assert [passes_of_lighter("sft", batch) for batch in (1, 2, 3, 4, 9)] == [0, 2, 3, 2, 3]


@pytest.mark.parametrize("method", ["sft", "kto"])
def test_what_a_lighter_resume_changes_is_said(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """KTO compares the rows of a batch, so that smaller batches make other updates."""

    def short(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(worker, "train", short)
    failed = run_worker(make_run(method))[-1]
    assert (failed.kind, failed.message) == ("failed", failures.NO_MEMORY)
    assert "half the batch" in failed.hint
    assert ("the updates stay the same" in failed.hint) == (method == "sft")
    assert ("updates come out a little otherwise" in failed.hint) == (method == "kto")
