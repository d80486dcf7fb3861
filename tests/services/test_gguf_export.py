"""A run's student as a GGUF file: sizes, the job, what is refused at once."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import Conflict, InvalidInput, Unavailable
from distill_studio.core.records import RunState
from distill_studio.services import gguf_export
from distill_studio.services.operations import call
from distill_studio.store import runs
from tests.services.test_origins import add_run
from tests.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def run(workspace: Any, tiny: Path) -> str:
    folder = workspace.folder / "runs" / "first"
    shutil.copytree(tiny, folder / "model")
    (folder / "run.json").write_text("{}")
    return add_run(workspace, "first", "org/small", 0).name


def test_a_student_becomes_a_file_among_the_exports(workspace, owner, run) -> None:
    before = call(workspace, owner, "export_gguf_types", {"run": run})
    assert [one["type"] for one in before] == ["f16", "bf16", "q8_0", "q4_1", "q4_0"]
    assert {one["file"] for one in before} == {""}
    job = call(workspace, owner, "export_gguf", {"run": run, "type": "q8_0"})
    deadline = time.monotonic() + 30
    while job["state"] in ("queued", "running") and time.monotonic() < deadline:
        time.sleep(0.02)
        job = call(workspace, owner, "jobs_get", {"job_id": job["id"]})
    assert job["state"] == "done", job["error"]
    made = workspace.folder / "exports" / "first-q8_0.gguf"
    assert job["result"] == {"name": made.name, "size_bytes": made.stat().st_size}
    assert made.read_bytes()[:4] == b"GGUF"
    after = call(workspace, owner, "export_gguf_types", {"run": run})
    assert [one["file"] for one in after if one["file"]] == [made.name]
    assert made.name in [one.name for one in workspace.export.page(owner)]


def test_what_cannot_be_written_is_refused_at_once(workspace, owner, run, monkeypatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr(gguf_export.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(Unavailable, match="Make room"):
        workspace.export.gguf(owner, run)
    config = workspace.folder / "runs" / run / "model" / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"falcon"'))
    with pytest.raises(InvalidInput, match="falcon"):
        workspace.export.gguf_types(owner, run)
    runs.update(workspace.db, run, state=RunState.STOPPED)
    with pytest.raises(Conflict):
        workspace.export.gguf(owner, run)
    assert workspace.jobs.page(owner, kinds=["gguf"]) == []
