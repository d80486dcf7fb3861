"""Several trainings as one: the specs of stages and of a grid, and how a grid is compared.

Pure and torch-free: `stage_specs`, `grid_specs`, `measure_of`, `rank`.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.base import Record
from distill_studio.distill.config import PRUNING
from distill_studio.distill.spec import OWNERS, TrainSpec
from distill_studio.distill.students import RUN_PREFIX

MOST_RUNS = 64
GRID_FIELDS = (
    "learning_rate",
    "alpha",
    "beta",
    "temperature",
    "feature_weight",
    "sft_weight",
    "lora_r",
    "max_steps",
    "seed",
)
_WHOLE = ("lora_r", "max_steps", "seed")


class Measure(Record):
    """The figure by which the runs of a grid can be compared."""

    metric: str = Field(description="Name among a run's final figures.")
    label: str = Field(description="In words.")
    is_better_low: bool = Field(description="True where less is better.")


def stage_specs(name: str, stages: Sequence[TrainSpec]) -> list[TrainSpec]:
    """The stages, each going on from the student of the one before.

    A stage that follows a teacher and names none follows the first stage's model as it was before:
    its own student would be no teacher.

    Raises:
        InvalidInput: No stages, or a later stage that would begin from another model, or prune.
    """
    if not stages:
        raise InvalidInput("There are no stages yet.", "Add at least one.")
    if len(stages) > MOST_RUNS:
        raise InvalidInput(f"These are {len(stages)} stages.", f"Use at most {MOST_RUNS}.")
    first = stages[0]
    made = []
    for index, stage in enumerate(stages):
        changes: dict[str, Any] = {"name": f"{name}-{index + 1}"}
        if index:
            if stage.student.startswith(RUN_PREFIX):
                raise InvalidInput(
                    f"Stage {index + 1} names the student {stage.student}.",
                    "Only the first stage chooses a student; the others go on from it.",
                )
            if any(getattr(stage, n) not in (None, getattr(first, n)) for n in PRUNING):
                raise InvalidInput(
                    f"Stage {index + 1} prunes its student.",
                    "Only the first stage prunes. Train the run of one plan, then begin another"
                    f" plan, or run, from its student ({RUN_PREFIX}NAME), which may prune again.",
                )
            changes |= {"student": f"{RUN_PREFIX}{name}-{index}", **dict.fromkeys(PRUNING)}
        if stage.method in OWNERS["teacher"] and stage.teacher is None:
            changes["teacher"] = first.student
        made.append(stage.model_copy(update=changes))
    return made


def grid_specs(name: str, spec: TrainSpec, grid: Mapping[str, Sequence[float]]) -> list[TrainSpec]:
    """One spec for each combination of values, the last field changing fastest.

    Raises:
        InvalidInput: A field that cannot be varied, no or too many combinations, a bad value.
    """
    for field, values in grid.items():
        if field not in GRID_FIELDS:
            raise InvalidInput(
                f"'{field}' cannot be varied in a grid.", f"Vary {', '.join(GRID_FIELDS)}."
            )
        if not values or len(set(values)) != len(values):
            raise InvalidInput(f"{field}: give each value once, and at least one.")
    count = 1
    for values in grid.values():
        count *= len(values)
    if not 2 <= count <= MOST_RUNS:
        raise InvalidInput(
            f"This grid has {count} {'run' if count == 1 else 'runs'}.",
            f"Give several values for a field, and at most {MOST_RUNS} combinations.",
        )
    made = []
    for index, values in enumerate(itertools.product(*grid.values())):
        changes: dict[str, Any] = {f: _number(f, v) for f, v in zip(grid, values, strict=True)}
        changes["name"] = f"{name}-{index + 1}"
        try:
            made.append(TrainSpec(**(spec.model_dump() | changes)))
        except ValidationError as err:
            problem = err.errors()[0]
            where = str(problem["loc"][0]) if problem["loc"] else ""
            raise InvalidInput(f"{where}: {problem['msg']}.".lstrip(": ")) from err
    return made


def _number(field: str, value: float) -> float | int:
    if field not in _WHOLE:
        return value
    if value != int(value):
        raise InvalidInput(f"{field}: {value:g} is not a whole number.")
    return int(value)


def measure_of(method: str, varied: Sequence[str], kl_label: str) -> Measure | None:
    """What runs that differ in `varied` can be compared by; None where nothing held-out can.

    A loss whose own weights or temperature vary is no measure of the student.

    Args:
        method: Of all the runs.
        varied: Settings.
        kl_label: What the divergence of these runs is called.
    """
    if method in ("dpo", "kto"):
        if "beta" in varied or "sft_weight" in varied:
            return Measure(
                metric="logp_margin_after",
                label="held-out log-probability, chosen less rejected",
                is_better_low=False,
            )
        return Measure(metric="margin_after", label="held-out margin", is_better_low=False)
    if method == "sft":
        return Measure(metric="loss_after", label="held-out loss", is_better_low=True)
    if "temperature" not in varied:
        return Measure(metric="kl_after", label=f"held-out {kl_label}", is_better_low=True)
    if method == "logit":
        label = "held-out cross-entropy (KL at unlike temperatures cannot be compared)"
        return Measure(metric="ce_after", label=label, is_better_low=True)
    return None


def rank(figures: Sequence[float | None], is_better_low: bool) -> int | None:
    """Index of the best figure; None where there is none."""
    known = [(value, index) for index, value in enumerate(figures) if value is not None]
    if not known:
        return None
    return (min if is_better_low else max)(known, key=lambda pair: pair[0])[1]


def parse_grid(texts: Mapping[str, str]) -> dict[str, list[float]]:
    """Read values between commas or blanks, by field; empty fields are left out.

    Raises:
        InvalidInput: Says which value of which field is no number.
    """
    found: dict[str, list[float]] = {}
    for field, text in texts.items():
        for part in text.replace(",", " ").split():
            try:
                found.setdefault(field, []).append(float(part))
            except ValueError as err:
                raise InvalidInput(f"{field}: '{part}' is not a number.") from err
    return found
