"""A run's page beside its figures: answers, notes, settings again, and runs over each other."""

import gradio as gr
import pytest

from distill_studio.core.records import Run, RunNote, RunState
from distill_studio.distill import failures
from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    LoraConfig,
    StudentConfig,
    TeacherConfig,
)
from distill_studio.distill.curve import Curve, Point
from distill_studio.distill.events import Eval, Note, Sample, Started, Step
from distill_studio.distill.presets import build_config
from distill_studio.distill.run_comparison import RunComparison, compared
from distill_studio.distill.spec import TrainSpec
from distill_studio.distill.trainers.callback import Diverged, _require_number
from distill_studio.ui.panels import distill_form, distill_html
from distill_studio.ui.panels import run_parts_html as parts
from distill_studio.ui.panels.compare_runs_html import comparison_html
from distill_studio.ui.panels.distill_fields import FIELD_NAMES, NOT_IN_THE_FORM
from distill_studio.ui.panels.distill_refill import refill

EVIL = "<img src=x onerror=alert(1)>${alert(1)}"


def points(*values: float) -> list[Point]:
    return [Point(step=i, value=v) for i, v in enumerate(values)]


def test_answers_of_every_prompt_are_shown_at_any_evaluation() -> None:
    events = [
        Sample(step=step, prompt=prompt, answer=f"{prompt} at {step}")
        for step in (0, 20, 40)
        for prompt in ("first", "second")
    ]
    steps = parts.sample_steps(events)
    assert steps == [0, 20, 40]
    assert parts.step_choices(steps) == [
        ("the newest", parts.NEWEST),
        ("update 40", "40"),
        ("update 20", "20"),
        ("before training", "0"),
    ]
    newest = parts.samples_html(events, parts.NEWEST)
    middle = parts.samples_html(events, "20")
    for prompt in ("first", "second"):
        assert f"{prompt} at 0" in newest
        assert f"{prompt} at 40" in newest
        assert f"{prompt} at 20" in middle
        assert f"{prompt} at 40" not in middle
    assert parts.samples_html(events, "0").count("ds-run-turn") == 4  # prompt and answer, twice
    assert parts.samples_html(events, "77") == newest  # gone with a resume
    assert parts.samples_html([], parts.NEWEST) == ""


def test_the_worker_s_notes_stay_and_progress_is_one_line() -> None:
    started = Started(
        total=4, train_rows=9, validation_rows=2, left_out=3, device="cpu", dtype="float32",
        parameters=100, trainable=5,
    )  # fmt: skip
    events = [
        Note(message="The teacher reads the rows once: 8 of 24.", at=10.0),
        Note(message="The teacher reads the rows once: 16 of 24.", at=12.0),
        Note(message="Stored signal: the top 64 cover 97.1 %.", covered=0.971, at=15.0),
        started,
        Eval(step=0, loss=2.0, kl=1.0),
        Step(step=1, total=4, loss=1.9, lr=0.1),
    ]
    assert parts.worker_notes(events) == [
        (2.0, "The teacher reads the rows once: 16 of 24."),
        (5.0, "Stored signal: the top 64 cover 97.1 %."),
    ]
    config = {"signal": "cache", "kept": "top_k", "top_k": 64, "divergence": "forward_kl"}
    run = Run(name="r", method="logit", snapshot_id="s", config=config, state=RunState.DONE)
    html = distill_html.run_html(run, Curve(total=4, kl=points(1.0)), events)
    assert "97.1 %" in html
    assert "3 rows are left out" in html
    assert "KL to the teacher, lower bound" in html
    assert "64 likeliest ids and one bucket" in html
    whole = started.model_copy(update={"left_out": 0})
    assert "left out" not in distill_html.run_html(run, Curve(), [whole])
    assert "1 row is left out" in parts.left_out_text([started.model_copy(update={"left_out": 1})])


def test_a_diverged_run_names_a_way_that_is_there() -> None:
    with pytest.raises(Diverged) as caught:
        _require_number(float("nan"), "loss", 3)
    failed = failures.explain(caught.value)
    assert failures.is_diverged(f"{failed.message} {failed.hint}")
    assert not failures.is_diverged("The disk is full.")
    for said in ("Use these settings again", "--like", "learning rate", "fp32"):
        assert said in failed.hint


def test_people_take_their_own_notes_away_and_an_owner_any() -> None:
    made = [RunNote(run_id="i", user="ann", text="one"), RunNote(run_id="i", user="bob", text="2")]
    assert parts.notes_html(made, "ann", is_owner=False).count("Take away") == 1
    assert parts.notes_html(made, "eve", is_owner=True).count("Take away") == 2
    assert "in the card" in parts.notes_html(
        [made[0].model_copy(update={"in_card": True})], "", is_owner=False
    )
    assert "Nobody" in parts.notes_html([], "ann", is_owner=True)


def compared_of(*configs: dict[str, object]) -> RunComparison:
    drawn = Curve(
        total=4,
        train=points(2.0, 1.5, 1.2),
        validation=points(2.0, 1.5),
        kl=points(1.0, 0.5),
        held_kl=points(1.0, 0.5),
    )
    runs = [
        Run(
            name=f"{EVIL}{number}",
            method="logit",
            snapshot_id="s",
            config={"method": "logit", "divergence": "forward_kl", **config},
            metrics={"kl_after": 0.5, "steps": 1200},
        )
        for number, config in enumerate(configs)
    ]
    return compared(runs, [drawn] * len(runs))


def test_runs_over_each_other_in_one_chart() -> None:
    found = compared_of({"learning_rate": 1e-4}, {"learning_rate": 3e-4})
    for drawn, lines in (("train", 2), ("held", 2), ("kl", 4)):
        html = comparison_html(found, drawn)
        assert html.count("<polyline") == lines, drawn
        assert html.count("<svg") == 1
        for number in (0, 1):
            assert f'class="run-{number}"' in html or f'class="run-{number} "' in html
        assert "not comparable" not in html
        assert "<img" not in html
        assert "&lt;img" in html
    assert "None of these runs has a curve" in comparison_html(found, "ce")
    html = comparison_html(found, "held")
    for said in ("Learning rate", "0.0003", "0.5000", "1,200"):
        assert said in html, said
    assert "Divergence" not in html  # the same in both


def test_a_figure_that_cannot_be_compared_is_marked() -> None:
    online, stored = {"signal": "online"}, {"signal": "cache", "kept": "top_k", "top_k": 64}
    html = comparison_html(compared_of(online, stored), "kl")
    assert "not comparable: The teacher is asked" in html
    assert "Not to be compared by height" in html
    assert "KL to the teacher, lower bound" in html


def test_the_form_takes_the_settings_of_a_run_again() -> None:
    lists = {
        "snapshot": [("a (9 rows)", "a")],
        "student": [("base", "base")],
        "teacher": [("big", "big")],
    }
    for method, more in (
        ("sft", {}),
        ("dpo", {"dpo_loss": "ipo", "reference": "stored"}),
        ("logit", {"signal": "cache", "kept": "draws", "temperature": 2.0, "feature_weight": 0.0}),
        ("on_policy", {"divergence": "jsd", "mixture": 0.25, "more_teachers": "big*0.5"}),
    ):
        spec = TrainSpec(
            snapshot="a", method=method, student="base", keep_layers=15, seed=9,
            learning_rate=3e-5, scheduler="linear", dtype="fp32", **more,
        )  # fmt: skip
        teachers = [TeacherConfig(folder="/t", id="big")] * (2 if "more_teachers" in more else 1)
        student = StudentConfig(base_folder="/s", base_id="base", keep_layers=15)
        data = DataConfig(folder="/d", name="a", format="messages")
        config = build_config(spec, "r", student, data, "auto", teachers, "/c")
        found = refill(config, lists)
        assert found.warnings == [], method
        assert ("base, pruned to 15 layers", "base::15") in found.lists["student"]
        again = distill_form.spec_of(*(found.values.get(name, "") for name in FIELD_NAMES))
        assert again
        remade = build_config(again, "r", student, data, "auto", teachers, "/c")
        assert remade.model_dump(exclude={"epochs"}) == config.model_dump(exclude={"epochs"})


def test_what_is_gone_is_left_open_and_told() -> None:
    spec = TrainSpec(snapshot="a", student="base")
    student = StudentConfig(base_folder="/s", base_id="base")
    data = DataConfig(folder="/d", name="a", format="messages")
    config = build_config(spec, "r", student, data).model_copy(
        update={"lora": LoraConfig(dropout=0.1)}
    )
    found = refill(config, {"snapshot": [("b", "b")], "student": [("base", "base")], "teacher": []})
    assert found.values["snapshot"] is None
    assert found.values["student"] == "base"
    assert found.warnings == [
        "The snapshot a is not here any more: choose another.",
        "LoRA dropout 0.1 becomes 0: the form has no field for it.",
    ]


def test_every_choice_has_a_field_or_a_reason_not_to() -> None:
    assert set(FIELD_NAMES) | set(NOT_IN_THE_FORM) == set(TrainSpec.model_fields)
    assert set(FIELD_NAMES).isdisjoint(NOT_IN_THE_FORM)
    with gr.Blocks():
        form = distill_form.build_form()
    assert set(form.fields) == set(FIELD_NAMES)


def test_every_setting_of_a_run_can_be_chosen_or_is_listed() -> None:
    chosen = set(TrainSpec.model_fields) | {
        "student", "data", "lora", "loss", "features",  # by snapshot, weights, dpo_loss, feature_*
    }  # fmt: skip
    known = set().union(*(kind.model_fields for kind in RUN_CONFIGS.values()))
    assert known - chosen == {
        # of run.json alone: with the values that everybody takes, or the machine's
        "schema_version", "device", "resume", "sample_tokens", "cache_folder",
    }  # fmt: skip
    assert set(LoraConfig.model_fields) == {"r", "alpha", "dropout", "target_modules"}
