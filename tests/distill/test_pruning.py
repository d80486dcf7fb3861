"""What pruning leaves, counted before a model is loaded, and which layouts are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.config import RunConfig, StudentConfig, TeacherConfig
from distill_studio.distill.estimate import model_facts
from distill_studio.distill.preflight import check
from distill_studio.distill.pruning import (
    MATRICES,
    Shape,
    changes_text,
    kept_shape,
    pruning_text,
    refuse_layout,
    weights_text,
)

MakeConfig = Callable[..., RunConfig]
SMOLLM2 = Shape(layers=30, hidden=576, neurons=1536, heads=9, groups=3, head_dim=64)


def student(folder: Path | str = "/s", **kept: Any) -> StudentConfig:
    return StudentConfig(base_folder=str(folder), base_id="tiny", **kept)


def layer(shape: Shape, number: int = 0, **other: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The weights of a layer that can be narrowed, and others beside them."""
    sizes = {
        name: (getattr(shape, rows), getattr(shape, columns))
        for name, (rows, columns) in MATRICES.items()
    }
    parts = sizes | {"input_layernorm": (shape.hidden,)} | other
    return {f"model.layers.{number}.{name}.weight": size for name, size in parts.items()}


def test_what_is_left_is_what_was_asked_for_in_round_numbers() -> None:
    both = kept_shape(SMOLLM2, student(keep_layers=24, keep_mlp=0.75, keep_groups=2))
    assert both == Shape(layers=24, hidden=576, neurons=1152, heads=6, groups=2, head_dim=64)
    assert changes_text(SMOLLM2, both) == (
        "6 of 30 layers are dropped, each MLP keeps 1,152 of 1,536 neurons, each attention keeps"
        " 2 of 3 key/value groups (6 of 9 heads)"
    )
    assert kept_shape(SMOLLM2, student(keep_mlp=0.7)).neurons == 1072  # 8 x 134.4
    assert kept_shape(SMOLLM2, student(keep_mlp=1e-9)).neurons == 8
    assert kept_shape(SMOLLM2, student(keep_hidden=0.7)).hidden == 432  # 8 and 9 heads divide it
    whole = student(keep_layers=99, keep_mlp=1.0, keep_groups=99, keep_hidden=1.0)
    assert kept_shape(SMOLLM2, whole) == kept_shape(SMOLLM2, student()) == SMOLLM2
    assert changes_text(SMOLLM2, SMOLLM2) == ""


def test_what_a_student_keeps_in_words() -> None:
    kept = {"keep_layers": 24, "keep_mlp": 0.75, "keep_groups": None, "keep_hidden": 0.5}
    assert pruning_text(kept) == "24 layers, 0.75 of the MLP neurons, 0.5 of the channels"
    assert pruning_text({"base_id": "m"}) == ""
    assert [weights_text(n) for n in (134_515_008, 1_235_814_400, 43_744)] == [
        *("134.5 M", "1.236 B", "43,744"),
    ]


def test_separate_projections_pass_and_other_layouts_are_named() -> None:
    narrower = kept_shape(SMOLLM2, student(keep_groups=2, keep_hidden=0.75))
    bias = {"model.layers.0.self_attn.q_proj.bias": (576,), "model.embed_tokens.weight": (9, 576)}
    norm = {"self_attn.q_norm": (64,)}
    refuse_layout(layer(SMOLLM2, **norm) | bias, "qwen3", SMOLLM2, narrower)
    refuse_layout({}, "llama", SMOLLM2, narrower)  # not readable before it is loaded
    for said, odd in {
        "mixtures of experts": {"mlp.experts.gate_up_proj": (4, 96, 64)},
        "hold self_attn.qkv_proj, not separate": {"self_attn.qkv_proj": (9, 576)},
        r"q_proj is \(1152, 576\), not \(576, 576\)": {"self_attn.q_proj": (1152, 576)},
        "q_norm is over all heads": {"self_attn.q_norm": (576,)},
    }.items():
        with pytest.raises(InvalidInput, match=said):
            refuse_layout(layer(SMOLLM2, 1, **odd), "llama", SMOLLM2, narrower)
    few = layer(SMOLLM2)
    del few["model.layers.0.mlp.gate_proj.weight"]
    with pytest.raises(InvalidInput, match=r"hold no mlp\.gate_proj, not separate"):
        refuse_layout(few, "llama", SMOLLM2, narrower)
    with pytest.raises(InvalidInput, match="layers of models of type odd cannot be reached"):
        refuse_layout({"transformer.h.0.mlp.up.weight": (9, 9)}, "odd", SMOLLM2, narrower)


def test_channels_and_heads_that_cannot_go() -> None:
    channels = kept_shape(SMOLLM2, student(keep_hidden=0.5))
    with pytest.raises(InvalidInput, match="gemma2 cannot lose channels"):
        refuse_layout(layer(SMOLLM2), "gemma2", SMOLLM2, channels)
    large = Shape(layers=2, hidden=2048, neurons=64, heads=32, groups=8, head_dim=64)
    five = kept_shape(large, student(keep_groups=5))
    with pytest.raises(InvalidInput, match="20 heads do not divide the 2048 channels"):
        refuse_layout(layer(large), "llama", large, five)
    refuse_layout(layer(large), "qwen3", large, five)


def test_pre_flight_says_what_goes_and_how_many_weights_are_left(
    make_config: MakeConfig, tiny_model: Path, tmp_path: Path
) -> None:
    facts = model_facts(tiny_model)
    narrower = student(tiny_model, keep_layers=2, keep_mlp=0.5, keep_groups=1)
    left = model_facts(tiny_model, narrower).parameters
    teacher = TeacherConfig(folder=str(tiny_model), id="tiny")
    for config in (
        make_config(student=narrower),
        make_config("logit", student=narrower, teacher=teacher),
    ):
        found = check(config).findings
        assert [f.code for f in found] == ["pruned", "estimate"]
        assert found[0].message.startswith(
            "Before the training 1 of 3 layers are dropped, each MLP keeps 32 of 64 neurons, each"
            f" attention keeps 1 of 2 key/value groups (2 of 4 heads):"
            f" {left:,} of {facts.parameters:,} weights"
        )
    same = make_config("logit", student=student(tiny_model, keep_mlp=1.0), teacher=teacher)
    assert "own_teacher" in [f.code for f in check(same).findings]
    qwen2 = tmp_path / "qwen2"
    shutil.copytree(tiny_model, qwen2)
    told = (qwen2 / "config.json").read_text(encoding="utf-8")
    (qwen2 / "config.json").write_text(told.replace('"llama"', '"qwen2"'), encoding="utf-8")
    codes = [f.code for f in check(make_config(student=student(qwen2, keep_groups=1))).findings]
    assert codes[:2] == ["unlike_heads", "pruned"]
    (refused,) = [
        f
        for f in check(make_config(student=student(tiny_model, keep_groups=3))).findings
        if f.level == "error"
    ]
    assert refused.message == "The student has 2 key/value groups; 3 cannot be kept."


def test_features_follow_the_narrower_student(make_config: MakeConfig, tiny_model: Path) -> None:
    narrower = student(tiny_model, keep_layers=2, keep_hidden=0.5)
    config = make_config(
        "logit",
        student=narrower,
        teacher=TeacherConfig(folder=str(tiny_model), id="tiny"),
        features={"weight": 1.0},
    )
    (said,) = [f.message for f in check(config).findings if f.code == "layers"]
    assert "layers of 2 and 3" in said
    assert "linear maps from 16 to 32 dimensions" in said


def test_facts_of_a_model_without_these_numbers(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_embd": 32, "n_layer": 3, "n_head": 4, "vocab_size": 9}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert model_facts(tmp_path).shape == Shape(3, 32, 128, 4, 4, 8)
