"""The program on the other machine, with the fake Hub; its worker is a few lines."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from distill_studio.distill.events import Done
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


@pytest.fixture
def packed(tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that arrived; its worker says "done" and exits with 1."""
    HfApi(endpoint=hub.url, token="hf_ann").create_repo(REPO, private=True)
    for name, content in package.pack(a_run(tmp_path), REPO, 1, {}).items():
        place = tmp_path / "there" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
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
