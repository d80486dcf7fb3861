"""Events to series; events on disk."""

import itertools
from pathlib import Path

from distill_studio.distill.curve import MAX_POINTS, curve, standing, thin
from distill_studio.distill.events import (
    Checkpoint,
    Done,
    Eval,
    EventWriter,
    Note,
    Started,
    Step,
    Stopped,
    last_final,
    read_events,
)


def started(resumed_from: int = 0) -> Started:
    return Started(
        total=10,
        resumed_from=resumed_from,
        train_rows=1,
        validation_rows=1,
        device="cpu",
        dtype="float32",
        parameters=1,
        trainable=1,
    )


def step(number: int, loss: float = 1.0) -> Step:
    return Step(step=number, total=10, loss=loss, lr=0.1)


def test_a_resume_takes_back_what_came_after_its_checkpoint() -> None:
    events = [started(), Eval(step=0, loss=2.0), step(1), step(2), Checkpoint(step=2), step(3, 9.0)]
    events += [started(2), step(3, 1.5), step(4)]
    found = curve(events)
    assert [(p.step, p.value) for p in found.train] == [(1, 1.0), (2, 1.0), (3, 1.5), (4, 1.0)]
    assert [p.step for p in found.validation] == [0]
    assert found.total == 10


def test_a_start_from_anew_takes_all_back() -> None:
    events = [started(), Eval(step=0, loss=2.0), step(1), started(), Eval(step=0, loss=3.0)]
    assert [e.loss for e in standing(events) if e.kind == "eval"] == [3.0]


def test_series_are_thinned_to_500_points_and_keep_their_ends() -> None:
    points = [(i, float(i)) for i in range(10_000)]
    few = thin(points)
    assert len(few) == MAX_POINTS
    assert (few[0].step, few[-1].step) == (0, 9999)
    assert all(a.step < b.step for a, b in itertools.pairwise(few))
    assert abs(few[250].value - few[250].step) < 20
    assert [p.value for p in thin(points[:3])] == [0.0, 1.0, 2.0]


def test_events_survive_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first = EventWriter(path)
    first.write(step(1))
    first.close()
    with path.open("a") as file:
        file.write('{"kind":"step","st')
    events, offset = read_events(path)
    assert [e.step for e in events] == [1]
    second = EventWriter(path)
    second.write(step(2))
    second.close()
    more, end = read_events(path, offset)
    assert [e.step for e in more] == [2]
    assert end == path.stat().st_size
    assert read_events(tmp_path / "none") == ([], 0)


def test_only_a_last_word_counts() -> None:
    done = Done(metrics={})
    assert last_final([started(), done]) == done
    assert last_final([Stopped(step=1), Note(message="again")]) is None
    assert last_final([]) is None


def test_parts_of_the_loss_are_series_of_their_own() -> None:
    first = Step(step=1, total=2, loss=2.0, ce=3.0, kl=1.9, lr=0.1)
    found = curve([started(), Eval(step=0, loss=2.0, ce=3.0, kl=2.0), first, step(2)])
    assert [(p.step, p.value) for p in found.kl] == [(1, 1.9)]
    assert [(p.step, p.value) for p in found.ce] == [(1, 3.0)]
    assert [(p.step, p.value) for p in found.held_kl] == [(0, 2.0)]
    assert curve([started(), step(1)]).kl == []
