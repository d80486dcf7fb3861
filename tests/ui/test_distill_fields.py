"""What an empty field of the training form says it is worth is what a training then uses."""

import pytest

from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    StudentConfig,
    TeacherConfig,
    TeacherRun,
)
from distill_studio.distill.presets import PRESETS, build_config
from distill_studio.distill.spec import TrainSpec
from distill_studio.ui.panels.distill_fields import NUMBERS, placeholder, preset_text

CASES = [
    (method, preset, weights)
    for method in RUN_CONFIGS
    for preset in PRESETS[method]
    for weights in ("lora", "full")
]


@pytest.mark.parametrize(("method", "preset", "weights"), CASES)
def test_an_empty_field_says_what_is_used(method: str, preset: str, weights: str) -> None:
    spec = TrainSpec(snapshot="a", method=method, preset=preset, weights=weights)
    student = StudentConfig(base_folder="/m", base_id="m")
    data = DataConfig(folder="/s", name="a", format="messages")
    teacher = TeacherConfig(folder="/m", id="m")
    config = build_config(spec, "r", student, data, "cpu", [teacher])
    used = config.model_dump()
    used["lora_r"] = config.lora.r if config.lora else 16
    used["feature_weight"] = 0  # hidden states are left alone
    if isinstance(config, TeacherRun):
        used["teacher_weight"] = config.teacher.weight
    said = {field: placeholder(field, method, preset, weights) for field in NUMBERS}
    wrong = {
        f: (text, used[f])
        for f, text in said.items()
        if f in used and text and float(text) != used[f]
    }
    assert wrong == {}
    assert said["learning_rate"] == f"{config.learning_rate:g}"
    assert f"Learning rate {config.learning_rate:g}," in preset_text(method, preset, weights, {})


def test_what_was_filled_in_is_told_beside_the_preset() -> None:
    own = {"max_steps": " 3 ", "batch_size": "1", "learning_rate": ""}
    assert preset_text("sft", "quick", "lora", own).endswith(
        "Instead of the preset: updates 3, batch size 1."
    )
