"""A run's curves in a tracker: what `events.jsonl` says, once for each update; never a failure."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distill_studio.distill import trackers, worker
from distill_studio.distill.config import RunConfig
from distill_studio.distill.events import EVENTS_FILE, EventWriter, read_events
from distill_studio.distill.preflight import check
from distill_studio.distill.trainers import tracking
from distill_studio.distill.trainers.setup import Setup

MakeRun = Callable[..., Path]
MakeConfig = Callable[..., RunConfig]


def drawn(folder: Path) -> dict[str, dict[int, float]]:
    """Each curve that TensorBoard shows of a folder, by update; an update twice is an error."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    curves = {}
    for tag in read.Tags()["scalars"]:
        points = [(point.step, point.value) for point in read.Scalars(tag)]
        assert len(dict(points)) == len(points), (tag, points)
        curves[tag] = dict(points)
    return curves


@pytest.mark.slow
@pytest.mark.usefixtures("keep_signals")
def test_tensorboard_shows_the_events_and_a_crashed_run_goes_on_in_the_same_curves(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"max_steps": 6, "save_every": 2, "eval_every": 3, "samples": 0}
    folder = make_run("logit", tracker="tensorboard", signal="online", **options)
    original = EventWriter.write

    def write(self: EventWriter, event: Any) -> None:
        original(self, event)
        if event.kind == "step" and event.step == 4:
            raise OSError("the power went")

    monkeypatch.setattr(EventWriter, "write", write)
    assert worker.main([str(folder / "run.json")]) == 1
    monkeypatch.undo()
    assert sorted(drawn(folder / "tensorboard")["train/loss"]) == [1, 2, 3]
    assert worker.main([str(folder / "run.json")]) == 0
    events, _ = read_events(folder / EVENTS_FILE)
    assert [e.resumed_from for e in events if e.kind == "started"] == [0, 2]
    curves = drawn(folder / "tensorboard")
    for kind, prefix, names in (
        ("step", "train", {"loss": "loss", "ce": "ce", "kl": "kl", "grad_norm": "grad_norm"}),
        ("eval", "eval", {"loss": "loss", "ce": "ce", "kl": "kl"}),
    ):
        for name, field in names.items():
            told = {e.step: getattr(e, field) for e in events if e.kind == kind}
            assert curves[f"{prefix}/{name}"] == pytest.approx(told, rel=1e-5), (kind, name)
    assert sorted(curves["eval/loss"]) == [0, 3, 6]
    assert not [tag for tag in curves if tag.endswith(("_runtime", "_per_second"))]
    said = [e.message for e in events if e.kind == "note"]
    assert said.count("The curves go to TensorBoard as well.") == 2


def test_names_and_what_is_no_curve() -> None:
    update = {
        "loss": 2.0,
        "grad_norm": 1.0,
        "rewards/margins": 0.1,
        "epoch": 0.5,
        "x": "a",
        "num_tokens": 9,
    }
    assert tracking.curves_of(update) == {
        "train/loss": 2.0,
        "train/grad_norm": 1.0,
        "train/rewards/margins": 0.1,
        "train/epoch": 0.5,
    }
    held_out = {"eval_loss": 1.0, "eval_margin": 0.2, "eval_runtime": 3.0, "epoch": 0.5}
    assert tracking.curves_of(held_out) == {"eval/loss": 1.0, "eval/margin": 0.2}
    assert tracking.curves_of({"train_loss": 1.0, "train_runtime": 3.0}) == {}


def log(config: RunConfig, folder: Path, steps: range = range(1, 2)) -> list[str]:
    """Updates through the mirror of a run, the first of them the next one; the notes."""
    import accelerate

    accelerate.PartialState(cpu=True)  # a trainer's arguments make it
    said: list[str] = []
    state = SimpleNamespace(global_step=steps[0] - 1)
    setup = Setup(config, folder, None, None, None, "cpu", False, said.append)  # type: ignore[arg-type]
    with tracking.tracked(setup):
        for callback in setup.callbacks:
            callback.on_train_begin(None, state, None)
            for state.global_step in steps:
                callback.on_log(None, state, None, {"loss": state.global_step / 2})
    return said


def test_an_update_made_again_is_drawn_once(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(tracker="tensorboard")
    for steps in (range(1, 5), range(3, 7)):  # lost after the fourth, gone on from the second
        assert log(config, tmp_path, steps) == ["The curves go to TensorBoard as well."]
    curves = drawn(tmp_path / "tensorboard")
    assert curves == {"train/loss": {step: step / 2 for step in range(1, 7)}}


def test_a_tracker_that_fails_is_told_and_left_alone(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / "tensorboard").write_text("a file where a folder is wanted")
    said = log(make_config(tracker="tensorboard"), tmp_path)
    assert len(said) == 1
    assert said[0].startswith("From here on the curves do not go to TensorBoard:")
    assert "exists" in said[0]
    assert log(make_config(), tmp_path) == []


def test_a_missing_package_is_named_with_its_install_command(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tracker="wandb")
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda _: None)
    (told,) = log(config, tmp_path)
    assert "Weights & Biases: its package is not installed" in told
    assert told.endswith("-m pip install wandb")
    (found,) = trackers.tracker_findings(config, is_elsewhere=False)
    assert (found.level, found.hint) == ("warning", trackers.install_hint("wandb"))
    assert trackers.tracker_findings(make_config(), is_elsewhere=False) == []
    elsewhere = [f for f in check(config).findings if f.code == "tracker"]
    assert [f.level for f in elsewhere] == ["warning"]


def test_a_run_keeps_its_id_and_a_later_one_of_its_name_has_another(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    from distill_studio.distill.events import Note

    config = make_config(tracker="wandb")
    setup = Setup(config, tmp_path, None, None, None, "cpu", False)  # type: ignore[arg-type]
    trackio = make_config(tracker="trackio")
    same = Setup(trackio, tmp_path, None, None, None, "cpu", False)  # type: ignore[arg-type]
    ids, names = [], []
    for at in (1.0, 2.0):
        (tmp_path / EVENTS_FILE).unlink(missing_ok=True)
        for when in (at, at + 5):  # the second attempt appends
            writer = EventWriter(tmp_path / EVENTS_FILE)
            writer.write(Note(message="Loading.", at=when))
            writer.close()
            ids.append(tracking._arguments(setup, 0)["id"])
            names.append(tracking._arguments(same, 0)["name"])
    assert ids[0] == ids[1]
    assert ids[2] == ids[3]
    assert ids[0] != ids[2]
    assert names == [f"{config.name}-{i[:6]}" for i in ids]
    assert str(tmp_path) not in str(tracking._told(config.model_dump(mode="json")))
