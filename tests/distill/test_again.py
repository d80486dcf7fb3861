"""The settings of a run as a choice that makes the same run again."""

from typing import Any

import pytest

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
from distill_studio.distill.presets import PRESETS, build_config
from distill_studio.distill.spec import TrainSpec

STUDENT = StudentConfig(base_folder="/models/s", base_id="run:first", keep_layers=24)
DATA = DataConfig(folder="/snaps/a", name="a", format="messages", content_hash="h")
TEACHERS = (
    TeacherConfig(folder="/models/t", id="big", weight=2.0),
    TeacherConfig(folder="/models/u", id="run:maths", weight=0.5),
)
CHANGED: dict[str, dict[str, Any]] = {
    "sft": {"learn": "last", "reasoning_share": 0.5, "reasoning_budget": 100},
    "dpo": {"dpo_loss": "robust", "label_smoothing": 0.2, "sft_weight": 0.5, "reference": "stored"},
    "kto": {"desirable_weight": 1.0, "undesirable_weight": 3.0, "beta": 0.2},
    "logit": {
        "alpha": 0.0,
        "beta": 1.5,
        "temperature": 2.0,
        "divergence": "jsd",
        "mixture": 0.4,
        "teacher_weight": 2.0,
        "feature_weight": 2.0,
        "feature_loss": "mse",
        "feature_layers": "8:10, 16:20",
    },
    "on_policy": {"sampling_temperature": 0.7, "answer_tokens": 40, "divergence": "skewed_kl"},
}
COMMON: dict[str, Any] = {
    "scheduler": "linear",
    "warmup_ratio": 0.2,
    "eval_rows": 9,
    "save_every": 7,
    "dtype": "fp32",
    "lora_r": 4,
    "lora_alpha": 5,
    "lora_layers": "q_proj, v_proj",
    "seed": 3,
    "over_length": "drop",
    "batch_size": 6,
}


def made_by(spec: TrainSpec) -> RunConfig:
    teachers = list(TEACHERS) if spec.method in ("logit", "on_policy") else []
    return build_config(spec, "r", STUDENT, DATA, "auto", teachers, "/caches")


@pytest.mark.parametrize("method", list(RUN_CONFIGS))
def test_every_setting_comes_back(method: str) -> None:
    wanted = [
        TrainSpec(snapshot="a", method=method, preset=preset, weights=weights)
        for preset in PRESETS[method]
        for weights in ("lora", "full")
    ]
    wanted.append(TrainSpec(snapshot="a", method=method, **COMMON, **CHANGED[method]))
    wanted.append(TrainSpec(snapshot="a", method=method, epochs=2.5))
    for spec in wanted:
        config = made_by(spec)
        again = spec_like(config)
        assert (again.snapshot, again.student, again.keep_layers) == ("a", "run:first", 24)
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
