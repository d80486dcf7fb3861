"""A run's student as a GGUF file: sizes, the job, what is refused at once."""

import errno
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, Unavailable
from distill_studio.core.records import JobState, RunState
from distill_studio.distill.llama_cpp import writer
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
    done = workspace.jobs.wait(owner, job["id"], timeout_s=60)
    assert done.state is JobState.DONE, done.error
    made = workspace.folder / "exports" / "first-q8_0.gguf"
    assert done.result == {"name": made.name, "size_bytes": made.stat().st_size}
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
    config.write_text(config.read_text().replace('"falcon"', '"llama"'))
    monkeypatch.undo()
    tokenizer = config.with_name("tokenizer.json")
    whole = tokenizer.read_text()
    tokenizer.write_text(json.dumps(json.loads(whole) | {"pre_tokenizer": {"type": "Whitespace"}}))
    with pytest.raises(InvalidInput, match="cuts text by a rule"):
        workspace.export.gguf(owner, run)
    tokenizer.write_text(whole)
    with pytest.raises(NotAllowed):
        workspace.export.gguf(Actor(user="guest", role=Role.VIEWER), run)
    runs.update(workspace.db, run, state=RunState.STOPPED)
    with pytest.raises(Conflict):
        workspace.export.gguf(owner, run)
    assert workspace.jobs.page(owner, kinds=["gguf"]) == []


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full."),
        (FileNotFoundError(errno.ENOENT, "gone"), "was deleted while"),
    ],
)
def test_trouble_with_files_is_told_in_words(
    workspace, owner, run, monkeypatch, trouble: OSError, said: str
) -> None:
    def fails(*_: Any) -> None:
        raise trouble

    monkeypatch.setattr(writer, "_write", fails)
    job = workspace.export.gguf(owner, run)
    ended = workspace.jobs.wait(owner, job.id, timeout_s=60)
    assert ended.state is JobState.FAILED
    assert said in ended.error
    assert list((workspace.folder / "exports").iterdir()) == []


def test_one_job_at_a_time_writes_a_file(workspace, owner, run, monkeypatch) -> None:
    """A job that was stopped may be resumed while another one writes the same file."""
    at_work, go_on, real = threading.Event(), threading.Event(), writer._write

    def slow(*given: Any) -> int:
        at_work.set()
        go_on.wait(60)
        return real(*given)

    monkeypatch.setattr(writer, "_write", slow)
    first = workspace.export.gguf(owner, run)
    assert at_work.wait(60)
    other = workspace.jobs.submit(owner, gguf_export.JOB_KIND, "again", first.params)
    refused = workspace.jobs.wait(owner, other.id, timeout_s=60)
    go_on.set()
    assert workspace.jobs.wait(owner, first.id, timeout_s=60).state is JobState.DONE
    assert refused.state is JobState.FAILED
    assert "is being written already" in refused.error
