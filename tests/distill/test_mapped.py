"""Rows of a large snapshot, read and tokenised one batch at a time."""

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill import worker
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import RunConfig, parse_config
from distill_studio.distill.data import iter_rows
from distill_studio.distill.events import EVENTS_FILE, EventWriter, read_events
from distill_studio.distill.preflight import check
from distill_studio.distill.trainers import mapped, setup
from distill_studio.distill.trainers.mapped import EncodedRows, arrow_copy, mapped_rows
from tests.distill.run_worker import run_worker
from tests.tiny_model import completions, user, write_snapshot

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]
pytestmark = pytest.mark.usefixtures("keep_signals")


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot counts as large."""
    monkeypatch.setattr(setup, "MAPPED_FROM", 1)


def some_rows(count: int) -> list[dict[str, Any]]:
    """Every fifth has a prompt that fills the longest length: nothing of it is learned."""
    rows = completions(count)
    for number in range(0, count, 5):
        rows[number]["prompt"] = [user("moon " * 90)]
    return rows


def losses(events: list[Any]) -> list[float]:
    return [e.loss for e in events if e.kind == "step"]


def test_rows_are_read_in_any_order_and_tokenised_only_then(
    make_config: MakeConfig, chat: ChatTokenizer, tmp_path: Path
) -> None:
    config = make_config()
    rows = some_rows(2500)
    data = write_snapshot(tmp_path / "large", rows, [])
    asked: list[str] = []

    def encode(row: dict[str, Any]) -> dict[str, Any] | None:
        asked.append(row["id"])
        return setup.answer_tokens(holder, config, row)

    holder = setup.Setup(config, tmp_path, None, None, chat, "cpu", False)
    found = mapped_rows(data / "train.parquet", tmp_path / "copy.arrow", encode, chat.pad_id)
    assert len(found) == 2500
    assert asked == []
    order = np.random.default_rng(0).permutation(2500)[:60].tolist()
    for number in order:
        expected = setup.answer_tokens(holder, config, rows[number])
        got = found[number]
        assert got["row"] == number
        if number % 5 == 0:
            assert (got["input_ids"], got["labels"]) == ([chat.pad_id], [-100])
        else:
            assert {k: got[k] for k in ("input_ids", "labels")} == expected
    assert asked == [rows[n]["id"] for n in order]
    batch = found.__getitems__(order[:7])
    assert [row["row"] for row in batch] == order[:7]
    made = EncodedRows([found, found])
    assert len(made) == 5000
    assert made[2501].input_ids == found[1]["input_ids"]
    assert [row.input_ids for row in made][4999] == found[2499]["input_ids"]


def test_the_copy_is_made_once_and_is_the_parquet(tmp_path: Path) -> None:
    data = write_snapshot(tmp_path / "d", completions(2300), [])
    copy = tmp_path / "rows.arrow"
    (tmp_path / "rows.arrow.unfinished").write_bytes(b"cut short by a kill")
    arrow_copy(data / "train.parquet", copy)
    import pyarrow as pa

    with pa.memory_map(str(copy)) as source:
        table = pa.ipc.open_stream(source).read_all()
        assert table["row"].to_pylist() == list(range(2300))
        assert table.drop_columns("row").to_pylist() == list(iter_rows(data, "train"))
    before = copy.stat().st_mtime_ns
    arrow_copy(data / "train.parquet", copy)
    assert copy.stat().st_mtime_ns == before
    assert pq.read_metadata(data / "train.parquet").num_rows == 2300


@pytest.mark.parametrize("method", ["sft", "logit", "logit-cache"])
def test_a_large_snapshot_trains_as_a_small_one(
    make_run: MakeRun,
    tiny_model: Path,
    tmp_path: Path,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same rows in the same order to the same losses; no file is left behind."""
    rows = completions(37)
    data = write_snapshot(tmp_path / "rows", rows, completions(5))
    fields: dict[str, Any] = {
        "data": {"folder": str(data), "name": "rows", "format": "prompt_completion"},
        "student": {"base_folder": str(tiny_model), "base_id": "tiny", "keep_layers": 2},
        "max_steps": 12,  # more than one pass
        "samples": 0,
    }
    if method == "logit-cache":
        fields |= {"signal": "cache", "top_k": 32}
    kind = method.split("-")[0]
    small = run_worker(make_run(kind, "small", **fields))
    monkeypatch.setattr(setup, "MAPPED_FROM", 1)
    folder = make_run(kind, "large", **fields)
    large = run_worker(folder)
    assert large[-1].kind == "done", large[-1]
    assert losses(large) == pytest.approx(losses(small), rel=1e-4)
    assert not (folder / setup.ROWS_FILE).exists()
    assert "tokenised as they are read" in " ".join(e.message for e in large if e.kind == "note")


@pytest.mark.parametrize("method", ["sft", "logit", "logit-cache"])
@pytest.mark.usefixtures("always")
def test_rows_with_nothing_to_learn_change_nothing(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path, method: str
) -> None:
    """One update over all rows is the update over those that can be learned."""
    rows = some_rows(20)
    fields: dict[str, Any] = {
        "student": {"base_folder": str(tiny_model), "base_id": "tiny", "keep_layers": 2},
        "max_steps": 1,
        "samples": 0,
        "grad_accumulation": 5,  # a whole pass of four rows may teach nothing
    }
    if method == "logit-cache":
        fields |= {"signal": "cache", "top_k": 32}
    found = []
    for name, kept in (("all", rows), ("some", [r for i, r in enumerate(rows) if i % 5])):
        data = write_snapshot(tmp_path / name, kept, completions(4))
        where = {"data": {"folder": str(data), "name": name, "format": "prompt_completion"}}
        events = run_worker(make_run(method.split("-")[0], f"run-{name}", **(fields | where)))
        assert events[-1].kind == "done", events[-1]
        found.append(losses(events)[0])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.usefixtures("always")
def test_batches_without_anything_to_learn_do_not_break_a_run(
    make_run: MakeRun, tmp_path: Path
) -> None:
    rows = some_rows(20)
    data = write_snapshot(tmp_path / "rows", rows, [])
    where = {"folder": str(data), "name": "rows", "format": "prompt_completion"}
    events = run_worker(make_run(data=where, batch_size=1, max_steps=20, samples=0))
    assert events[-1].kind == "done", events[-1]
    assert 0.0 in losses(events)


@pytest.mark.usefixtures("always")
def test_resume_goes_on_in_the_same_order(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of each batch, of a run that was stopped and resumed and of one that was not."""
    data = write_snapshot(tmp_path / "rows", completions(50), [])
    where = {"folder": str(data), "name": "rows", "format": "prompt_completion"}
    fields: dict[str, Any] = {"data": where, "max_steps": 20, "samples": 0, "save_every": 100}
    seen: list[list[int]] = []
    original = mapped._Transform.__call__

    def call(self: Any, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if len(columns["row"]) > 1:  # not the library's look at the first row
            seen.append(columns["row"])
        return original(self, columns)

    monkeypatch.setattr(mapped._Transform, "__call__", call)
    whole = run_worker(make_run(folder="whole", **fields))
    in_one = seen.copy()
    seen.clear()
    folder = make_run(folder="stopped", **fields)
    stop = threading.Event()
    write = EventWriter.write

    def stopping(self: EventWriter, event: Any) -> None:
        write(self, event)
        if event.kind == "step" and event.step == 14:  # in the second pass over the rows
            stop.set()

    with monkeypatch.context() as patch:
        patch.setattr(EventWriter, "write", stopping)
        writer = EventWriter(folder / EVENTS_FILE)
        worker.train(parse_config((folder / "run.json").read_bytes()), folder, writer, stop)
        writer.close()
    first, _ = read_events(folder / EVENTS_FILE)
    assert first[-1].kind == "stopped"
    before, read_first = first[-1].step, seen.copy()
    seen.clear()
    events = run_worker(folder)
    assert events[-1].kind == "done"
    missing = 20 - before
    assert read_first[:before] + seen[:missing] == in_one[:20]
    assert len(seen) <= missing + 2  # what was learned before is not tokenised again
    assert losses(events) == pytest.approx(losses(whole), rel=1e-4)
    first_pass = [row for batch in in_one[:13] for row in batch]
    assert sorted(first_pass) == list(range(50))
    assert first_pass != sorted(first_pass)


def test_many_preferences_are_tokenised_to_a_file(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = run_worker(make_run("dpo", "small", samples=0))
    monkeypatch.setattr(setup, "MAPPED_FROM", 1)
    folder = make_run("dpo", "large", samples=0)
    large = run_worker(folder)
    assert large[-1].kind == "done", large[-1]
    assert losses(large) == pytest.approx(losses(small), rel=1e-4)
    assert not list(folder.glob("tokens-*"))


def test_the_fingerprint_does_not_read_the_model(chat: ChatTokenizer) -> None:
    import pickle

    holder = functools.partial(lambda model, row: None, object())
    assert len(pickle.dumps(mapped._Transform(holder, 0))) < 200


@pytest.mark.parametrize("least", [1, 1000])
def test_a_row_that_the_template_refuses_is_left_out_and_told(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    rows = completions(20)
    rows[13]["prompt"] = [user("forbidden moon")]
    data = write_snapshot(tmp_path / "rows", rows, completions(4))
    where = {"folder": str(data), "name": "rows", "format": "prompt_completion"}
    monkeypatch.setattr(setup, "MAPPED_FROM", least)
    render = ChatTokenizer.render

    def refusing(self: ChatTokenizer, messages: Any, **options: Any) -> str:
        if any("forbidden" in message["content"] for message in messages):
            raise InvalidInput("The template wants no such turn.")
        return render(self, messages, **options)

    monkeypatch.setattr(ChatTokenizer, "render", refusing)
    events = run_worker(make_run(data=where, max_steps=6, samples=0))
    assert events[-1].kind == "done", events[-1]
    told = " ".join(event.message for event in events if event.kind == "note")
    assert 'Rows like "forbidden moon" are left out: The template wants no such turn.' in told
    report = check(make_config_of(tmp_path))
    warning = next(f for f in report.findings if f.code == "refused_rows")
    assert "1 of the 20 rows looked at" in warning.message
    assert "row 14: The template wants no such turn." in warning.message
    assert report.is_ok


def make_config_of(folder: Path) -> RunConfig:
    return parse_config((folder / "run" / "run.json").read_bytes())
