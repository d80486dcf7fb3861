"""Events of a run as series for the loss plot. Torch-free."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from distill_studio.core.records.base import Record

MAX_POINTS = 500


class Point(Record):
    """One figure at one update."""

    step: int = Field(description="Update.")
    value: float = Field(description="Figure.")


class Curve(Record):
    """Series of a run, each of at most 500 points."""

    total: int = Field(default=0, description="Updates in all; 0 = not known yet.")
    train: list[Point] = Field(default_factory=list, description="Training loss.")
    validation: list[Point] = Field(default_factory=list, description="Held-out loss.")
    learning_rate: list[Point] = Field(default_factory=list, description="Per update.")
    grad_norm: list[Point] = Field(default_factory=list, description="Before clipping.")
    margin: list[Point] = Field(default_factory=list, description="DPO, KTO: on held-out rows.")
    ce: list[Point] = Field(default_factory=list, description="Logit: cross-entropy.")
    kl: list[Point] = Field(default_factory=list, description="Logit: the divergence, times T^2.")
    held_ce: list[Point] = Field(default_factory=list, description="Logit: held-out.")
    held_kl: list[Point] = Field(default_factory=list, description="Logit: held-out.")
    features: list[Point] = Field(default_factory=list, description="Distance of hidden states.")
    held_features: list[Point] = Field(default_factory=list, description="The same, held-out.")


def standing(events: Sequence[Any]) -> list[Any]:
    """Events that still hold: a resume takes back what came after its checkpoint."""
    kept: list[Any] = []
    for event in events:
        if event.kind == "started":
            start = event.resumed_from
            kept = [e for e in kept if getattr(e, "step", 0) <= start and not _is_reset(e, start)]
        kept.append(event)
    return kept


def curve(events: Sequence[Any]) -> Curve:
    """The series of a run from its events, oldest first."""
    held = standing(events)
    steps = [e for e in held if e.kind == "step"]
    evals = [e for e in held if e.kind == "eval"]
    total = next((e.total for e in reversed(held) if e.kind == "started"), 0)
    margins = [(e.step, e.margin) for e in evals if e.margin is not None]
    return Curve(
        total=total,
        train=thin([(e.step, e.loss) for e in steps]),
        validation=thin([(e.step, e.loss) for e in evals]),
        learning_rate=thin([(e.step, e.lr) for e in steps]),
        grad_norm=thin([(e.step, e.grad_norm) for e in steps]),
        margin=thin(margins),
        ce=_part(steps, "ce"),
        kl=_part(steps, "kl"),
        held_ce=_part(evals, "ce"),
        held_kl=_part(evals, "kl"),
        features=_part(steps, "features"),
        held_features=_part(evals, "features"),
    )


def _part(events: Sequence[Any], name: str) -> list[Point]:
    """A part of the loss, where there is one."""
    return thin([(e.step, value) for e in events if (value := getattr(e, name)) is not None])


def thin(points: Sequence[tuple[int, float]], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` points: means of equal stretches, the first and last points as they are."""
    if len(points) <= most:
        return [Point(step=step, value=value) for step, value in points]
    inner, slots = points[1:-1], most - 2
    result = [points[0]]
    for slot in range(slots):
        part = inner[slot * len(inner) // slots : (slot + 1) * len(inner) // slots]
        result.append((part[len(part) // 2][0], sum(v for _, v in part) / len(part)))
    result.append(points[-1])
    return [Point(step=step, value=value) for step, value in result]


def _is_reset(event: Any, start: int) -> bool:  # noqa: ANN401
    """True for the baseline of an attempt that began anew."""
    return start == 0 and event.kind in ("eval", "sample", "step")
