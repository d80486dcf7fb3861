"""Stages and grids as specs, and what a grid is compared by."""

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.planning import (
    grid_specs,
    measure_of,
    parse_grid,
    rank,
    stage_specs,
)
from distill_studio.distill.spec import TrainSpec


def test_stages_go_on_from_each_other() -> None:
    stages = [
        TrainSpec(snapshot="a", student="base", keep_layers=24, keep_mlp=0.5, name="x"),
        TrainSpec(snapshot="a", method="logit", student="base", keep_layers=24, keep_mlp=0.5),
        TrainSpec(snapshot="p", method="dpo"),
        TrainSpec(snapshot="a", method="on_policy", teacher="run:big"),
    ]
    made = stage_specs("plan", stages)
    assert [s.name for s in made] == ["plan-1", "plan-2", "plan-3", "plan-4"]
    assert [s.student for s in made] == ["base", "run:plan-1", "run:plan-2", "run:plan-3"]
    assert [s.keep_layers for s in made] == [24, None, None, None]
    assert [s.keep_mlp for s in made] == [0.5, None, None, None]
    assert [s.teacher for s in made] == [None, "base", None, "run:big"]


def test_what_is_no_list_of_stages() -> None:
    with pytest.raises(InvalidInput, match="no stages"):
        stage_specs("plan", [])
    later = TrainSpec(snapshot="a", student="run:other")
    with pytest.raises(InvalidInput, match="Stage 2 names the student"):
        stage_specs("plan", [TrainSpec(snapshot="a"), later])
    assert stage_specs("plan", [later])[0].student == "run:other"
    again = TrainSpec(snapshot="a", method="logit", keep_mlp=0.5)
    with pytest.raises(InvalidInput, match="Stage 2 prunes"):
        stage_specs("plan", [TrainSpec(snapshot="a", keep_layers=24), again])


def test_a_grid_is_every_combination_once() -> None:
    spec = TrainSpec(snapshot="s", method="logit", alpha=0.5)
    grid = {"learning_rate": [1e-4, 3e-4], "temperature": [1.0, 2.0], "lora_r": [8.0]}
    made = grid_specs("g", spec, grid)
    found = [(s.name, s.learning_rate, s.temperature, s.lora_r, s.alpha) for s in made]
    assert found == [
        ("g-1", 1e-4, 1.0, 8, 0.5),
        ("g-2", 1e-4, 2.0, 8, 0.5),
        ("g-3", 3e-4, 1.0, 8, 0.5),
        ("g-4", 3e-4, 2.0, 8, 0.5),
    ]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"batch_size": [1.0, 2.0]}, "cannot be varied"),
        ({"learning_rate": [1e-4]}, "1 run"),
        ({}, "1 run"),
        ({"learning_rate": [1e-4, 1e-4]}, "each value once"),
        ({"learning_rate": []}, "each value once"),
        ({"seed": [float(n) for n in range(65)]}, "65 runs"),
        ({"seed": [1.0, 1.5]}, "whole number"),
        ({"seed": [1.0, 2.0**32]}, "seed: Input should be less than or equal to 4294967295"),
        ({"learning_rate": [1e-4, -1.0]}, "learning_rate: Input should be greater"),
        ({"temperature": [1.0, 2.0]}, "temperature belongs to"),
    ],
)
def test_what_is_no_grid(grid: dict[str, list[float]], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        grid_specs("g", TrainSpec(snapshot="s"), grid)


def test_runs_are_compared_by_what_their_settings_leave_comparable() -> None:
    def metric(method: str, *varied: str) -> str | None:
        found = measure_of(method, varied, "KL to the teacher")
        return found.metric if found else None

    assert metric("sft", "learning_rate") == "loss_after"
    assert metric("logit", "alpha", "beta") == "kl_after"
    assert metric("logit", "temperature") == "ce_after"
    assert metric("on_policy", "temperature") is None
    assert metric("dpo", "learning_rate") == "margin_after"
    assert metric("dpo", "beta") == "logp_margin_after"


def test_the_best_of_what_is_known() -> None:
    assert rank([None, 2.0, 1.0], is_better_low=True) == 2
    assert rank([None, 2.0, 1.0], is_better_low=False) == 1
    assert rank([None, None], is_better_low=True) is None


def test_values_are_read_from_text() -> None:
    assert parse_grid({"alpha": " 0, 0.1 ", "beta": ""}) == {"alpha": [0.0, 0.1]}
    with pytest.raises(InvalidInput, match="beta: 'x' is not a number"):
        parse_grid({"beta": "1,x"})
