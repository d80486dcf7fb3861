"""The worker, run for real on a tiny random model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from distill_studio.distill import worker
from distill_studio.distill.command import worker_argv, working_folder
from distill_studio.distill.config import parse_config
from distill_studio.distill.curve import curve
from distill_studio.distill.events import EVENTS_FILE, read_events
from tests.distill.run_worker import kinds, run_worker
from tests.tiny_model import assistant, user

MakeRun = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("keep_signals")


def logits(folder: Path, adapter: Path | None = None) -> Any:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template([user("say red")], tokenize=False)
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits


def test_sft_learns_and_its_student_loads(make_run: MakeRun, tiny_model: Path) -> None:
    import torch

    folder = make_run(max_steps=8, save_every=4, eval_every=4)
    events = run_worker(folder)
    done = events[-1]
    assert done.kind == "done"
    assert done.metrics["steps"] == 8
    assert [e.step for e in kinds(events, "step")] == list(range(1, 9))
    assert [e.step for e in kinds(events, "eval")] == [0, 4, 8]
    assert done.metrics["loss_after"] < 0.9 * done.metrics["loss_before"]
    assert kinds(events, "sample")[0].prompt.startswith("say ")
    merged = logits(folder / "model")
    assert torch.allclose(merged, logits(tiny_model, folder / "adapter"), atol=1e-4)
    assert not torch.allclose(merged, logits(tiny_model), atol=1e-2)
    assert not (folder / "checkpoints").exists()


def test_held_out_loss_is_the_mean_over_tokens(make_run: MakeRun, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from distill_studio.distill.chat_tokenizer import ChatTokenizer
    from distill_studio.distill.data import encode_sft, iter_rows

    folder = make_run(max_steps=1, batch_size=3)
    events = run_worker(folder)
    config = parse_config((folder / "run.json").read_bytes())
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    total, count = 0.0, 0
    for row in iter_rows(Path(config.data.folder), "validation"):
        encoded = encode_sft(ChatTokenizer.load(tiny_model), row)
        labels = torch.tensor([encoded.labels])
        with torch.no_grad():
            out = model(input_ids=torch.tensor([encoded.input_ids]), labels=labels)
        total, count = total + float(out.loss) * encoded.learned, count + encoded.learned
    first = kinds(events, "eval")[0]
    assert first.step == 0
    assert first.tokens == count
    assert first.loss == pytest.approx(total / count, rel=1e-4)


def test_dpo_raises_the_held_out_margin(make_run: MakeRun) -> None:
    events = run_worker(make_run("dpo", max_steps=6))
    evals = kinds(events, "eval")
    assert events[-1].kind == "done"
    assert evals[0].margin == pytest.approx(0.0, abs=1e-5)
    assert evals[-1].margin > 0.05
    assert evals[-1].accuracy == 1.0
    assert evals[-1].logp_margin > evals[0].logp_margin
    assert events[-1].metrics["margin_after"] == evals[-1].margin


def test_dpo_with_full_weights_keeps_its_start_as_reference(make_run: MakeRun) -> None:
    events = run_worker(make_run("dpo", lora=None, learning_rate=1e-3, max_steps=4))
    assert events[-1].kind == "done", events[-1]
    margins = [e.margin for e in kinds(events, "eval")]
    assert margins[0] == pytest.approx(0.0, abs=1e-5)
    assert margins[-1] > 0.0


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_bf16_computes_and_keeps_adapters_in_fp32(make_run: MakeRun, method: str) -> None:
    from safetensors import safe_open

    folder = make_run(method, dtype="bf16", max_steps=2)
    events = run_worker(folder)
    assert events[-1].kind == "done", events[-1]
    assert kinds(events, "started")[0].dtype == "bfloat16"
    with safe_open(folder / "adapter" / "adapter_model.safetensors", "pt") as tensors:
        kept = {str(tensors.get_tensor(name).dtype) for name in tensors.keys()}  # noqa: SIM118
    assert kept == {"torch.float32"}


def test_full_weights_have_no_adapter(make_run: MakeRun) -> None:
    folder = make_run(lora=None, learning_rate=1e-3, max_steps=2)
    events = run_worker(folder)
    assert events[-1].kind == "done"
    assert events[-1].metrics["loss_after"] < events[-1].metrics["loss_before"]
    assert (folder / "model" / "config.json").exists()
    assert not (folder / "adapter").exists()
    started = kinds(events, "started")[0]
    assert started.trainable == started.parameters


def test_a_pruned_student_is_smaller_and_speaks(make_run: MakeRun, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kept = {"keep_layers": 2, "keep_mlp": 0.5, "keep_groups": 1, "keep_hidden": 0.5}
    folder = make_run(student={"base_folder": str(tiny_model), "base_id": "tiny", **kept})
    events = run_worker(folder)
    assert events[-1].kind == "done", events[-1]
    pruned = kinds(events, "pruned")[0]
    assert (len(pruned.kept), pruned.of) == (2, 3)
    assert (pruned.neurons, pruned.groups, pruned.channels) == (32, 1, 16)
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert model.config.num_hidden_layers == len(model.model.layers) == 2
    ids = AutoTokenizer.from_pretrained(folder / "model")("say red", return_tensors="pt").input_ids
    assert model.generate(ids, max_new_tokens=3, do_sample=False).shape[1] > ids.shape[1]


def test_stop_saves_and_resume_makes_exactly_the_missing_updates(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill_studio.distill.events import EventWriter

    folder = make_run(max_steps=6, save_every=100)
    stop = threading.Event()
    original = EventWriter.write

    def write(self: EventWriter, event: Any) -> None:
        original(self, event)
        if event.kind == "step" and event.step == 2:
            stop.set()

    monkeypatch.setattr(EventWriter, "write", write)
    writer = EventWriter(folder / EVENTS_FILE)
    config = parse_config((folder / "run.json").read_bytes())
    worker.train(config, folder, writer, stop)
    writer.close()
    monkeypatch.undo()
    first, _ = read_events(folder / EVENTS_FILE)
    assert first[-1].kind == "stopped"
    assert first[-1].step == 3  # the update under way was finished
    assert kinds(first, "checkpoint")[-1].step == 3
    events = run_worker(folder)
    second = events[len(first) :]
    assert kinds(second, "started")[0].resumed_from == 3
    assert [e.step for e in kinds(second, "step")] == [4, 5, 6]
    assert events[-1].kind == "done"
    assert [p.step for p in curve(events).train] == [1, 2, 3, 4, 5, 6]
    assert events[-1].metrics["loss_before"] == kinds(first, "eval")[0].loss


@pytest.mark.slow  # a stop of a real child is in tests/services too
@pytest.mark.timeout(900)
def test_sigterm_reaches_a_real_child(make_run: MakeRun) -> None:
    folder = make_run(max_steps=100_000, save_every=100_000, eval_every=100_000)
    with (folder / "stdout.log").open("wb") as log:
        child = subprocess.Popen(
            worker_argv(folder),
            cwd=working_folder(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 300
        while not kinds(read_events(folder / EVENTS_FILE)[0], "step"):
            assert time.monotonic() < deadline, (folder / "stdout.log").read_text()[-2000:]
            assert child.poll() is None, (folder / "stdout.log").read_text()[-2000:]
            time.sleep(0.1)
        process = json.loads((folder / "process.json").read_text())
        assert process["pid"] == child.pid
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(timeout=300) == 0
    finally:
        if child.poll() is None:
            child.kill()
    events, _ = read_events(folder / EVENTS_FILE)
    assert events[-1].kind == "stopped"
    checkpoint = worker.last_checkpoint(folder)
    assert worker.step_of(checkpoint) == events[-1].step > 0


def test_an_unfinished_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((10, '{"global_step": 10}'), (9, '{"global_step": 9}'), (20, '{"glo')):
        path = tmp_path / "checkpoints" / f"checkpoint-{step}"
        path.mkdir(parents=True)
        (path / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoints" / "checkpoint-30").mkdir()
    assert worker.step_of(worker.last_checkpoint(tmp_path)) == 10
    assert worker.step_of(None) == 0


def test_a_student_that_is_gone(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(student={"base_folder": str(tmp_path / "nowhere"), "base_id": "x"})
    assert run_worker(folder)[-1].kind == "failed"


def test_the_base_is_read_once(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be gone by the time the student is saved: in what it is kept is known by then."""
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    folder = make_run(student={"base_folder": str(base), "base_id": "x"}, lora=None, max_steps=1)
    save = worker.save_student

    def without_base(*args: Any) -> None:
        shutil.rmtree(base)
        save(*args)

    monkeypatch.setattr(worker, "save_student", without_base)
    events = run_worker(folder)
    assert events[-1].kind == "done", events[-1]
    assert (folder / "model" / "config.json").exists()


def test_rows_that_cannot_be_learned_fail_with_a_way_out(make_run: MakeRun) -> None:
    events = run_worker(make_run(max_length=10))
    assert events[-1].kind == "failed"
    assert "None of the 20 rows" in events[-1].message
    assert "Raise the longest length" in events[-1].hint


def test_a_second_worker_leaves_the_run_alone(make_run: MakeRun) -> None:
    folder = make_run()
    with FileLock(folder / "worker.lock"):
        argv = [sys.executable, "-m", "distill_studio.distill.worker", str(folder / "run.json")]
        assert subprocess.run(argv, cwd=working_folder(), capture_output=True).returncode == 2
    assert not (folder / EVENTS_FILE).exists()


def test_wrong_usage() -> None:
    assert worker.main([]) == 2


def test_multi_turn_rows_train(make_run: MakeRun, tmp_path: Path) -> None:
    from tests.tiny_model import write_snapshot

    talks = [
        {"id": str(i), "messages": [user("a"), assistant("red"), user("b"), assistant("sun")]}
        for i in range(8)
    ]
    data = write_snapshot(tmp_path / "talks", talks[:6], talks[6:])
    folder = make_run(
        data={"folder": str(data), "name": "talks", "format": "messages"}, max_steps=2
    )
    events = run_worker(folder)
    assert events[-1].kind == "done", events[-1]
