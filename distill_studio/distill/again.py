"""The settings of a run as a choice that starts another one like it: `spec_like(config)`.

Torch-free. `changed_by` says what a choice made of them (such as the page's form, which has not
every field) would train differently.
"""

from collections.abc import Mapping
from typing import Any

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.config import (
    PRUNING,
    DpoRun,
    LogitRun,
    RunConfig,
    TeacherConfig,
    TeacherRun,
)
from distill_studio.distill.presets import COPIED, PRESETS, build_config
from distill_studio.distill.settings_text import label_of, settings_of, value_text
from distill_studio.distill.spec import TrainSpec


def spec_like(config: RunConfig) -> TrainSpec:
    """Every setting that can be chosen, as this run had it; without a name.

    Raises:
        InvalidInput: What it trained with cannot be chosen any more.
    """
    values = config.model_dump()
    chosen: dict[str, Any] = {name: values[name] for name in COPIED if name in values}
    if config.max_steps is not None:
        chosen["epochs"] = None  # the updates are counted
    chosen |= {
        "snapshot": config.data.name,
        "method": config.method,
        "student": config.student.base_id,
        **{name: getattr(config.student, name) for name in PRUNING},
        "preset": _nearest_preset(config.method, values),
        "weights": "lora" if config.lora else "full",
    }
    if config.lora:
        chosen |= {"lora_r": config.lora.r, "lora_alpha": config.lora.alpha}
        chosen["lora_layers"] = ", ".join(config.lora.target_modules) or None
    if isinstance(config, TeacherRun):
        chosen |= {"teacher": config.teacher.id, "teacher_weight": config.teacher.weight}
        chosen["more_teachers"] = _listed(config.more_teachers) or None
    if isinstance(config, DpoRun):
        chosen["dpo_loss"] = config.loss
    if isinstance(config, LogitRun):
        features = config.features
        chosen["feature_weight"] = features.weight if features else 0.0
        if features:
            chosen["feature_loss"] = features.loss
            chosen["feature_layers"] = ", ".join(f"{s}:{t}" for s, t in features.pairs) or None
    try:
        return TrainSpec(**chosen)
    except ValueError as err:
        raise InvalidInput(
            f"The settings of '{config.name}' cannot be used again: {err}",
            "Choose them by hand.",
        ) from err


def changed_by(config: RunConfig, spec: TrainSpec) -> list[str]:
    """What training by `spec` instead would change, in words: "Weight decay 0.1 becomes 0".

    Args:
        config: Of the run whose settings were taken.
        spec: The choice; its snapshot and models count as found.
    """
    teachers = list(config.teachers) if isinstance(config, TeacherRun) else []
    cache = config.cache_folder if isinstance(config, LogitRun) else ""
    made = build_config(
        spec, config.name, config.student, config.data, config.device, teachers, cache
    )
    before = settings_of(config.model_dump(mode="json"))
    after = settings_of(made.model_dump(mode="json"))
    return [
        f"{label_of(path, config.method)} {value_text(path, before.get(path))} becomes"
        f" {value_text(path, after.get(path))}"
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path)
    ]


def _nearest_preset(method: str, values: Mapping[str, Any]) -> str:
    """The preset that most of the values come from; the usual one where none stands out."""
    usual = sorted(PRESETS[method].values(), key=lambda preset: preset.name != "balanced")

    def alike(named: Mapping[str, Any]) -> int:
        return sum(values.get(name) == value for name, value in named.items())

    return max(usual, key=lambda preset: alike(preset.values)).name


def _listed(teachers: tuple[TeacherConfig, ...]) -> str:
    """As `parse_teachers` reads them."""
    return ", ".join(f"{one.id}*{one.weight:g}" for one in teachers)
