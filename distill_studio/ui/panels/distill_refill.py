"""The form of a training at the settings of a run: `values_of`, `refill`. Pure.

The inverse of `distill_form.spec_of`, for "Use these settings again".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_studio.distill.again import changed_by, spec_like
from distill_studio.distill.config import RunConfig
from distill_studio.distill.spec import OWNERS, TrainSpec
from distill_studio.ui.panels.distill_fields import FIELD_NAMES, NUMBERS
from distill_studio.ui.panels.distill_form import PRUNED, spec_of

Choices = list[tuple[str, str]]
_LISTS = ("snapshot", "student", "teacher")


@dataclass(frozen=True)
class Refill:
    """What the form shows then."""

    values: dict[str, Any]  # field -> value; fields that the method lacks are left as they are
    lists: dict[str, Choices]  # the choices of snapshot, student, teacher
    warnings: list[str]  # what is not as it was, in sentences


def values_of(spec: TrainSpec) -> dict[str, Any]:
    """The form's values for a choice, of the fields that its method has."""
    found: dict[str, Any] = {}
    for name in FIELD_NAMES:
        if name == "name" or spec.method not in OWNERS.get(name, (spec.method,)):
            continue
        value = getattr(spec, name)
        if name in NUMBERS:
            found[name] = "" if value is None else str(value)
        elif value is not None:
            found[name] = value
    keep = f"{PRUNED}{spec.keep_layers}" if spec.keep_layers else ""
    found["student"] = f"{spec.student}{keep}"
    if spec.method in OWNERS["more_teachers"]:
        found["more_teachers"] = spec.more_teachers or ""
    if spec.method in OWNERS["feature_layers"]:
        found["feature_layers"] = spec.feature_layers or ""
    if spec.method in OWNERS["signal"]:
        found["signal"] = (spec.kept or "top_k") if spec.signal == "cache" else "online"
    if spec.method in OWNERS["reference"]:
        found["reference"] = spec.reference or ""
    return found


def refill(config: RunConfig, lists: Mapping[str, Choices]) -> Refill:
    """The form at a run's settings.

    Args:
        config: Of the run.
        lists: The choices of snapshot, student and teacher that there are now.

    Raises:
        InvalidInput: What it trained with cannot be chosen any more.
    """
    values = values_of(spec_like(config))
    shown = {name: list(choices) for name, choices in lists.items()}
    shown["student"] = with_pruned(shown["student"], values["student"])
    warnings = []
    for name in _LISTS:
        if name in values and values[name] not in known(shown[name]):
            warnings.append(f"The {name} {values[name]} is not here any more: choose another.")
            values[name] = None
    warnings += [f"{change}: the form has no field for it." for change in _changes(config, values)]
    return Refill(values, shown, warnings)


def with_pruned(choices: Sequence[tuple[str, str]], student: str | None) -> Choices:
    """The students, with one that is pruned to another number of layers than is offered."""
    base, mark, keep = (student or "").partition(PRUNED)
    labels = {value: label for label, value in choices}
    if not mark or student in labels or base not in labels:
        return list(choices)
    return [*choices, (f"{labels[base]}, pruned to {keep} layers", f"{student}")]


def known(choices: Sequence[tuple[str, str]]) -> list[str]:
    """The values among choices."""
    return [value for _, value in choices]


def _changes(config: RunConfig, values: Mapping[str, Any]) -> list[str]:
    """What the form would train differently, models and data aside."""
    whole = {**values, "snapshot": config.data.name, "student": config.student.base_id}
    if config.student.keep_layers:
        whole["student"] += f"{PRUNED}{config.student.keep_layers}"
    spec = spec_of(*(whole.get(name, "") for name in FIELD_NAMES))
    return changed_by(config, spec) if spec else []
