"""The program on the other machine, with the fake Hub; its worker is a few lines."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from huggingface_hub import HfApi

from distill_studio.core.errors import NotFound, Unavailable
from distill_studio.distill.config import load_config
from distill_studio.distill.events import Done, EventWriter, Note, Stopped
from distill_studio.hub.run_repository import RunRepository
from distill_studio.remote import machine, package, records
from tests.fake_hub import FakeHub
from tests.remote.test_package import a_run

REPO = "ann/distill-r"
SAYS_DONE = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
for name in ("config.json", "model.safetensors", "events.out.tfevents.1", "training_args.bin"):
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / name).write_bytes(b"{}")
(folder / "events.jsonl").write_text(sys.argv[2] + "\\n")
sys.exit(int(sys.argv[3]))
"""


HANGS = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
folder = pathlib.Path(sys.argv[1])
(folder / "child").write_text(str(child.pid))
(folder / "model").mkdir()
for name in ("config.json", "model.safetensors"):
    (folder / "model" / name).write_bytes(b"{}")
(folder / "events.jsonl").write_text(sys.argv[2] + "\\n")
time.sleep(600)
"""


@pytest.fixture
def packed(tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that arrived; its worker says "done" and exits with 1."""
    HfApi(endpoint=hub.url, token="hf_ann").create_repo(REPO, private=True)
    for name, content in package.pack(a_run(tmp_path), REPO, 1, {}).items():
        place = tmp_path / "there" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    readable, writable = os.pipe()
    os.write(writable, b"hf_ann")
    os.close(writable)
    monkeypatch.setenv("DISTILL_STUDIO_REMOTE_TOKEN_PIPE", str(readable))
    done = Done(metrics={"steps": 3}).model_dump_json()
    monkeypatch.setattr(
        machine, "worker_argv", lambda folder: [sys.executable, "-c", SAYS_DONE, folder, done, "1"]
    )
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield tmp_path / "there" / "package"
    for number, handler in kept.items():
        signal.signal(number, handler)


def brought(hub: FakeHub) -> dict[str, bytes]:
    return hub.repo(REPO, "model").files()


def test_a_worker_that_said_done_and_then_fell_brings_its_model(packed: Path, hub: FakeHub) -> None:
    assert machine.main([str(packed)]) == 0
    there = brought(hub)
    result = records.Result.model_validate_json(there["attempts/1/result.json"])
    assert set(result.files) == {"model/config.json", "model/model.safetensors"}, (
        "what the app would refuse is not sent"
    )
    assert not result.unfit()
    assert json.loads(there["attempts/1/events/000001.jsonl"])["kind"] == "done"


def test_a_worker_that_hangs_after_its_last_word_is_ended_and_its_model_comes(
    packed: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Done(metrics={"steps": 3}).model_dump_json()
    monkeypatch.setattr(
        machine, "worker_argv", lambda folder: [sys.executable, "-c", HANGS, folder, done]
    )
    monkeypatch.setattr(machine, "_EXITS_WITHIN_S", 0.5)
    monkeypatch.setattr(machine, "_ENDS_WITHIN_S", 0.5)
    assert machine.main([str(packed)]) == 0
    there = brought(hub)
    assert "model/model.safetensors" in there
    assert json.loads(there["attempts/1/events/000001.jsonl"])["kind"] == "done"
    child = int((packed.parent / "run" / "r" / "child").read_text())
    deadline = time.monotonic() + 30  # what was killed is gone at its next turn on a processor
    while psutil.pid_exists(child):
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
                break
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("later", ["step", None])
def test_only_silence_after_the_last_word_is_a_hang(tmp_path: Path, later: str | None) -> None:
    """A resumed training says "stopped", then goes on in the same file."""
    writer = EventWriter(tmp_path / "events.jsonl")
    ending = machine._Ending(tmp_path / "events.jsonl")
    writer.write(Stopped(step=3))
    assert not ending.is_overdue()
    if later:
        writer.write(Note(message="on"))
    ending._said_at = ending._said_at and ending._said_at - machine._EXITS_WITHIN_S - 1
    assert ending.is_overdue() == (later is None)
    writer.close()


def test_the_device_that_was_paid_for_is_asked_for(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, hub = load_config(packed / records.RUN), RunRepository("hf_ann")
    assert machine.placed(config, packed, hub).device == "auto"
    monkeypatch.setenv("DISTILL_STUDIO_REMOTE_DEVICE", "cuda")
    assert machine.placed(config, packed, hub).device == "cuda"


def test_a_folder_that_holds_a_run_is_refused(
    packed: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    old = packed.parent / "run" / "r"
    old.mkdir(parents=True)
    (old / "events.jsonl").write_text('{"kind": "failed", "message": "old", "hint": ""}\n')
    assert machine.main([str(packed)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert not any(name.startswith("attempts/") for name in brought(hub))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The machine's hours pass at once; the Job began at 0 and ends after ten."""
    said = SimpleNamespace(now=1000.0)

    def sleep(seconds: float) -> None:
        said.now += seconds

    fake = SimpleNamespace(time=lambda: said.now, monotonic=lambda: said.now, sleep=sleep)
    monkeypatch.setattr(machine, "time", fake)
    monkeypatch.setattr(machine, "_LOOK_EVERY_S", 30.0)
    monkeypatch.setenv("DISTILL_STUDIO_REMOTE_BEGAN", "0")
    monkeypatch.setenv("DISTILL_STUDIO_REMOTE_LIMIT_S", "36000")
    return said


def a_carrier(tmp_path: Path, hub: FakeHub) -> machine.Carrier:
    HfApi(endpoint=hub.url, token="hf_ann").create_repo(REPO, private=True)
    manifest = records.Manifest(name="r", repo=REPO, attempt=1, files={})
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return machine.Carrier(RunRepository("hf_ann"), manifest, tmp_path, 60.0)


def test_an_outage_at_the_end_is_waited_out(
    tmp_path: Path, hub: FakeHub, clock: SimpleNamespace
) -> None:
    carrier = a_carrier(tmp_path, hub)
    fault = hub.fail("/commit/", 503, times=100, headers={"Retry-After": "0"})
    carrier.finish(machine.made_by(tmp_path), machine.ends_at())
    assert fault.hits == 100
    assert 10 * 60 < clock.now - 1000 < 36_000
    assert "attempts/1/result.json" in brought(hub)


def test_a_refused_token_is_tried_on_and_the_log_says_so(
    tmp_path: Path, hub: FakeHub, clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    carrier = a_carrier(tmp_path, hub)
    (tmp_path / "events.jsonl").write_text(Note(message="a").model_dump_json() + "\n")
    fault = hub.fail("/preupload/", 401, times=40, message="Invalid credentials")
    carrier.carry()
    carrier.finish(machine.made_by(tmp_path), machine.ends_at())
    assert fault.hits == 40
    assert "attempts/1/result.json" in brought(hub)
    said = capsys.readouterr().out
    assert said.count("token that this was started with, while it is refused") == 40
    assert "hf_ann" not in said


def test_the_end_of_the_job_is_the_end_of_patience(
    tmp_path: Path, hub: FakeHub, clock: SimpleNamespace
) -> None:
    carrier = a_carrier(tmp_path, hub)
    clock.now = 35_000.0
    hub.fail("/commit/", 503, times=-1, headers={"Retry-After": "0"})
    with pytest.raises(Unavailable):
        carrier.finish(machine.made_by(tmp_path), machine.ends_at())
    assert 35_900 < clock.now <= 36_000
    carrier.hurry()
    with pytest.raises(Unavailable):
        carrier.finish(machine.made_by(tmp_path), clock.now + 9_999)
    assert clock.now <= 36_000
    hub.faults.clear()
    carrier = machine.Carrier(
        RunRepository("hf_ann"),
        records.Manifest(name="r", repo="ann/none", attempt=1, files={}), tmp_path, 60.0,
    )  # fmt: skip
    clock.now = 0.0
    with pytest.raises(NotFound):
        carrier.finish(machine.made_by(tmp_path), 36_000.0)
    assert clock.now <= 900
