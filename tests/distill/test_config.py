"""run.json, presets and the registry of trainers."""

import numpy as np
import pytest
from pydantic import ValidationError

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.config import (
    MOST_SEED,
    RUN_CONFIGS,
    DataConfig,
    DpoRun,
    StudentConfig,
    TeacherConfig,
    parse_config,
)
from distill_studio.distill.presets import PRESETS, build_config
from distill_studio.distill.spec import TrainSpec
from distill_studio.distill.trainers import TRAINERS

STUDENT = StudentConfig(base_folder="/m", base_id="m")
TEACHER = TeacherConfig(folder="/t", id="t")
DATA = DataConfig(folder="/d", name="d", format="messages")


def test_a_trainer_per_tag() -> None:
    assert set(TRAINERS) == set(RUN_CONFIGS) == set(PRESETS)


@pytest.mark.parametrize("method", list(RUN_CONFIGS))
@pytest.mark.parametrize("preset", ["quick", "balanced", "thorough"])
def test_every_preset_makes_a_run(method: str, preset: str) -> None:
    spec = TrainSpec(snapshot="d", method=method, preset=preset)
    config = build_config(spec, "r", STUDENT, DATA, teachers=[TEACHER])
    assert type(config) is RUN_CONFIGS[method]
    assert parse_config(config.model_dump_json()) == config
    assert config.lora
    assert config.lora.alpha == 2 * config.lora.r
    assert config.lora.target_modules == ()  # all linear layers, whatever their names


def test_own_values_replace_the_preset() -> None:
    spec = TrainSpec(snapshot="d", epochs=2.0, batch_size=3, weights="full", lora_r=8)
    config = build_config(spec, "r", STUDENT, DATA)
    assert (config.max_steps, config.epochs, config.batch_size) == (None, 2.0, 3)
    assert config.lora is None
    assert config.learning_rate == PRESETS["sft"]["balanced"].full_learning_rate
    kept = build_config(
        TrainSpec(snapshot="d", learning_rate=0.01, weights="full"), "r", STUDENT, DATA
    )
    assert kept.learning_rate == 0.01


def test_fields_of_another_method_cannot_be_set() -> None:
    with pytest.raises(ValidationError):
        TrainSpec(snapshot="d", beta=0.1)
    with pytest.raises(ValidationError, match="temperature belongs to logit"):
        TrainSpec(snapshot="d", temperature=2.0)
    config = build_config(TrainSpec(snapshot="d", method="dpo", beta=0.3), "r", STUDENT, DATA)
    assert isinstance(config, DpoRun)
    assert config.beta == 0.3
    text = config.model_dump_json().replace('"method":"dpo"', '"method":"sft"')
    with pytest.raises(InvalidInput, match="beta"):
        parse_config(text)
    with pytest.raises(InvalidInput, match=r"run\.json"):
        parse_config("{}")


def test_layers_that_get_an_adapter_can_be_named() -> None:
    spec = TrainSpec(snapshot="d", lora_layers="qkv_proj, o_proj")
    config = build_config(spec, "r", STUDENT, DATA)
    assert config.lora
    assert config.lora.target_modules == ("qkv_proj", "o_proj")


def test_a_seed_is_one_that_numpy_takes() -> None:
    config = build_config(TrainSpec(snapshot="d", seed=MOST_SEED), "r", STUDENT, DATA)
    np.random.RandomState(config.seed)  # as transformers' `set_seed` seeds it
    with pytest.raises(ValueError, match="Seed must be"):
        np.random.RandomState(MOST_SEED + 1)
    with pytest.raises(ValidationError, match="seed"):
        TrainSpec(snapshot="d", seed=MOST_SEED + 1)
    text = config.model_dump_json().replace(str(MOST_SEED), str(MOST_SEED + 1))
    with pytest.raises(InvalidInput, match=r"run\.json: sft\.seed: .* 4294967295"):
        parse_config(text)
