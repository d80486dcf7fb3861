"""The settings of a run as a choice that makes the same run again."""

from typing import Any, Literal, get_args, get_origin

import pytest

from distill_studio.core.records.base import Record
from distill_studio.distill.again import changed_by, spec_like
from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    FeatureConfig,
    LoraConfig,
    RunConfig,
    StudentConfig,
    TeacherConfig,
    TeacherRun,
)
from distill_studio.distill.presets import COPIED, PRESETS, build_config
from distill_studio.distill.spec import OWNERS, TrainSpec

KEPT = {"keep_layers": 24, "keep_mlp": 0.75, "keep_groups": 2, "keep_hidden": 0.5}
STUDENT = StudentConfig(base_folder="/models/s", base_id="run:first", **KEPT)
DATA = DataConfig(folder="/snaps/a", name="a", format="messages", content_hash="h")
TEACHERS = (
    TeacherConfig(folder="/models/t", id="big", weight=2.0),
    TeacherConfig(folder="/models/u", id="run:maths", weight=0.5),
)
NAMED = {  # found again beside the others, or given by `made_by`
    *("snapshot", "method", "student", *KEPT, "preset", "name", "weights"),
    *("teacher", "more_teachers"),
}
OTHERWISE: dict[str, Any] = {  # what run.json has under another name
    "lora_r": 4,
    "lora_alpha": 5,
    "lora_layers": "q_proj, v_proj",
    "dpo_loss": "robust",
    "teacher_weight": 2.0,
    "feature_weight": 2.0,
    "feature_loss": "mse",
    "feature_layers": "8:10, 16:20",
}


def bounds(kind: type[Record], name: str) -> dict[str, float]:
    return {
        word: getattr(one, word)
        for one in kind.model_fields[name].metadata
        for word in ("ge", "gt", "le", "lt")
        if hasattr(one, word)
    }


def other_than(default: Any, name: str) -> Any:
    """A value of a choice that neither run.json nor a preset would have by itself."""
    annotation = TrainSpec.model_fields[name].annotation
    for one in get_args(annotation):
        if get_origin(one) is Literal:
            return next(value for value in get_args(one) if value != default)
    if bool in get_args(annotation):
        return not default
    limits = bounds(TrainSpec, name)
    least = limits.get("ge", limits.get("gt"))
    assert least is not None, name
    return least + 4 if int in get_args(annotation) else least + 0.3


def made_by(spec: TrainSpec) -> RunConfig:
    teachers = list(TEACHERS) if spec.method in ("logit", "on_policy") else []
    return build_config(spec, "r", STUDENT, DATA, "auto", teachers, "/caches")


@pytest.mark.parametrize("counted", ["max_steps", "epochs"])
@pytest.mark.parametrize("method", list(RUN_CONFIGS))
def test_every_setting_comes_back(method: str, counted: str) -> None:
    plain = made_by(TrainSpec(snapshot="a", method=method)).model_dump()
    values = {name: other_than(plain.get(name), name) for name in COPIED} | OTHERWISE
    assert set(values) | NAMED == set(TrainSpec.model_fields)
    wanted = {
        name: value
        for name, value in values.items()
        if method in OWNERS.get(name, (method,))
        and (name == counted or name not in ("max_steps", "epochs"))
    }
    again = spec_like(made_by(TrainSpec(snapshot="a", method=method, **wanted)))
    assert {name: getattr(again, name) for name in wanted} == wanted
    assert [n for n in COPIED if n in wanted and wanted[n] == plain[n]] == []


@pytest.mark.parametrize("name", COPIED)
def test_a_choice_has_the_bounds_of_what_it_is_copied_to(name: str) -> None:
    for method in OWNERS.get(name, tuple(RUN_CONFIGS)):
        assert bounds(TrainSpec, name) == bounds(RUN_CONFIGS[method], name), method


@pytest.mark.parametrize("method", list(RUN_CONFIGS))
def test_every_preset_comes_back(method: str) -> None:
    wanted = [
        TrainSpec(snapshot="a", method=method, preset=preset, weights=weights)
        for preset in PRESETS[method]
        for weights in ("lora", "full")
    ]
    for spec in wanted:
        config = made_by(spec)
        again = spec_like(config)
        assert (again.snapshot, again.student) == ("a", "run:first")
        assert {name: getattr(again, name) for name in KEPT} == KEPT
        assert again.weights == spec.weights
        if isinstance(config, TeacherRun):
            assert (again.teacher, again.more_teachers) == ("big", "run:maths*0.5")
            assert again.teacher_weight == 2.0
        remade = made_by(again)
        unlike = {
            name
            for name, value in remade.model_dump().items()
            if value != config.model_dump()[name]
        }
        assert unlike <= ({"epochs"} if config.max_steps else set()), spec
        assert changed_by(config, again) == []


def test_the_preset_is_the_one_it_came_from() -> None:
    for method, presets in PRESETS.items():
        for name in presets:
            spec = TrainSpec(snapshot="a", method=method, preset=name)
            assert spec_like(made_by(spec)).preset == name


def test_what_cannot_be_chosen_is_told() -> None:
    config = made_by(TrainSpec(snapshot="a", method="logit", scheduler="linear"))
    config = config.model_copy(
        update={
            "weight_decay": 0.1,
            "lora": LoraConfig(dropout=0.05),
            "features": FeatureConfig(),
        }
    )
    told = changed_by(config, spec_like(config).model_copy(update={"scheduler": "cosine"}))
    assert "Weight decay" not in " ".join(told), "it has a field"
    assert "Learning rate falls by linear becomes cosine" in told
    assert "LoRA dropout 0.05 becomes 0" in told
    assert len(told) == 2
