"""Several processes train one student: the same losses as one, one voice, one stop."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import Unavailable
from distill_studio.distill import worker
from distill_studio.distill.command import (
    several_commands,
    shell_command,
    worker_argv,
    working_folder,
)
from distill_studio.distill.device import check_sharding
from distill_studio.distill.events import EVENTS_FILE, read_events
from distill_studio.distill.ranks import Ranks, even_share
from tests.distill.run_worker import kinds
from tests.tiny_model import WORDS, assistant, user, write_snapshot

MakeRun = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("keep_signals")


def uneven_rows(count: int) -> list[dict[str, Any]]:
    """Answers of very different lengths: only a count over all processes weighs them right."""
    chance = random.Random(3)
    return [
        {
            "id": f"r{i}",
            "prompt": [user(f"say {WORDS[i % len(WORDS)]}")],
            "completion": [assistant(" ".join(chance.choices(WORDS, k=1 + (i * 7) % 23)))],
        }
        for i in range(count)
    ]


def launch(folder: Path) -> subprocess.Popen[bytes]:
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with (folder / "stdout.log").open("ab") as log:
        return subprocess.Popen(
            worker_argv(folder),
            cwd=working_folder(),
            stdout=log,
            stderr=log,
            env=env,
            start_new_session=True,
        )


def ended(folder: Path, child: subprocess.Popen[bytes]) -> list[Any]:
    try:
        child.wait(timeout=400)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    events, _ = read_events(folder / EVENTS_FILE)
    assert events, (folder / "stdout.log").read_text()[-3000:]
    return events


def figures(event: Any) -> list[float]:
    return [x for x in (event.loss, event.ce, event.kl) if x is not None]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", ["sft", "logit", "logit-cache"])
def test_two_processes_make_the_updates_of_one(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    data = write_snapshot(tmp_path / "uneven", uneven_rows(32), uneven_rows(11))
    fields: dict[str, Any] = {
        "data": {"folder": str(data), "name": "uneven", "format": "prompt_completion"},
        "student": {"base_folder": str(tiny_model), "base_id": "tiny", "keep_layers": 2},
        "max_steps": 6,
        "eval_every": 3,
        "eval_rows": 8,
        "learning_rate": 0.005,
        "samples": 0,
    }
    if method == "logit-cache":
        fields |= {"signal": "cache", "top_k": 32}
    kind = method.split("-")[0]
    one = make_run(kind, "one", batch_size=4, grad_accumulation=2, **fields)
    worker.main([str(one / "run.json")])
    alone, _ = read_events(one / EVENTS_FILE)
    assert alone[-1].kind == "done", alone[-1]
    two = make_run(kind, "two", batch_size=2, grad_accumulation=2, devices=2, **fields)
    together = ended(two, launch(two))
    assert together[-1].kind == "done", (two / "stdout.log").read_text()[-3000:]
    for event in ("step", "eval"):
        found = [(e.step, *figures(e)) for e in kinds(together, event)]
        wanted = [(e.step, *figures(e)) for e in kinds(alone, event)]
        assert len(found) == len(wanted)
        for mine, theirs in zip(found, wanted, strict=True):
            assert mine == pytest.approx(theirs, rel=2e-3), (found, wanted)
    assert [e.tokens for e in kinds(together, "eval")] == [e.tokens for e in kinds(alone, "eval")]
    norms = [[e.grad_norm for e in kinds(events, "step")] for events in (alone, together)]
    assert norms[1] == pytest.approx(norms[0], rel=5e-3)
    assert len(kinds(together, "started")) == 1  # one voice
    assert (two / "model" / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_stop_that_one_process_hears_stops_all_and_a_failure_is_told_once(
    make_run: MakeRun, tmp_path: Path
) -> None:
    import json

    folder = make_run(devices=2, batch_size=2, max_steps=1_000_000, save_every=1_000_000)
    child = launch(folder)
    try:
        deadline = time.monotonic() + 300
        while not kinds(read_events(folder / EVENTS_FILE)[0], "step"):
            assert time.monotonic() < deadline
            assert child.poll() is None, (folder / "stdout.log").read_text()[-3000:]
            time.sleep(0.1)
        os.kill(json.loads((folder / "process.json").read_text())["pid"], signal.SIGTERM)
        events = ended(folder, child)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == 0
    assert events[-1].kind == "stopped"
    assert worker.step_of(worker.last_checkpoint(folder)) == events[-1].step
    broken = make_run(folder="broken", devices=2, max_length=10)
    told = kinds(ended(broken, launch(broken)), "failed")
    assert len(told) == 1
    assert "None of the 20 rows can be learned" in told[0].message


def test_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Ranks.from_environment() == Ranks(0, 0, 1)
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    ranks = Ranks.from_environment()
    assert (ranks.is_first, ranks.is_many) == (False, True)
    assert ranks.device("cuda") == "cuda:1"
    assert ranks.device("cpu") == "cpu"


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_held_out_rows_are_shared_without_doubles(world: int) -> None:
    for rows in range(1, 70):
        kept, each = even_share(rows, 4, world)
        assert 0 < kept <= rows
        assert 1 <= each <= 4
        if world > 1 and rows >= world:
            assert kept % (each * world) == 0
            assert rows - kept < world * 4


def test_the_presets_are_what_accelerate_understands(make_run: MakeRun) -> None:
    """The shown commands, parsed by accelerate itself."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    from distill_studio.distill.command import launch_argv

    folder = make_run(devices=4, sharding="fsdp")
    argv = worker_argv(folder)
    assert argv[2] == "accelerate.commands.launch"
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(argv[3:]))
    assert (args.use_fsdp, args.num_processes, args.num_machines) == (True, 4, 1)
    assert str(args.fsdp_version) == "2"
    assert args.fsdp_state_dict_type == "FULL_STATE_DICT"
    assert args.training_script == "distill_studio.distill.worker"
    assert args.training_script_args == [str(folder / "run.json")]
    several = launch_argv(folder, 16, hosts=2)
    several[several.index("RANK")], several[several.index("HOST")] = "1", "10.0.0.1"
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(several[3:]))
    assert (args.multi_gpu, args.use_fsdp) == (True, False)
    assert (args.num_processes, args.num_machines, args.machine_rank) == (16, 2, 1)
    zero = launch_argv(folder, 4, "zero2")[3:]
    args, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(zero))
    assert (args.use_deepspeed, args.use_fsdp, args.multi_gpu) == (True, False, False)
    assert (args.zero_stage, args.offload_optimizer_device, args.num_processes) == (2, "none", 4)
    assert (args.deepspeed_multinode_launcher, args.mixed_precision) == ("standard", "no")
    assert defaults.deepspeed_config["zero3_init_flag"] is False
    shown = several_commands(folder)
    assert "fsdp.yaml" in shown
    assert "zero2.yaml" in shown
    assert shown.count(" && TORCH_ELASTIC_SHUTDOWN_TIMEOUT=86400 ") == 4
    assert " && TORCH_ELASTIC_SHUTDOWN_TIMEOUT=86400 " in shell_command(folder)
    assert "several.yaml" in shown
    assert "TORCH" not in shell_command(make_run(folder="single"))
    assert worker_argv(make_run(folder="single"))[2] == "distill_studio.distill.worker"


def test_fsdp_needs_gpus(make_run: MakeRun) -> None:
    check_sharding("none", "cpu")
    check_sharding("fsdp", "cuda:1")
    with pytest.raises(Unavailable, match="NVIDIA GPUs"):
        check_sharding("fsdp", "cpu")
