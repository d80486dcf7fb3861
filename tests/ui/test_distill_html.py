"""What the Distill tab shows: safe, and true to the figures."""

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Run, RunState
from distill_studio.distill.curve import Curve, Point
from distill_studio.distill.events import Eval, Sample, Started, Step
from distill_studio.distill.preflight import Finding
from distill_studio.distill.token_view import TokenPiece, TokenRow
from distill_studio.ui.panels import distill_form, distill_html
from distill_studio.ui.panels.loss_plot import loss_plot, nice_step, smoothed, summary

EVIL = "<img src=x onerror=alert(1)>${alert(1)}"


def points(*values: float) -> list[Point]:
    return [Point(step=i, value=v) for i, v in enumerate(values)]


def test_untrusted_text_is_escaped() -> None:
    piece = TokenPiece(text=EVIL, id=1, learned=True)
    row = TokenRow(title="row", pieces=[piece], tokens=1, learned=1, is_cut=False)
    config = {"student": {"base_id": EVIL}, "data": {"name": EVIL}, "lora": None}
    run = Run(name=EVIL, method="sft", snapshot_id="s", config=config, error=EVIL)
    sample = Sample(step=0, prompt=EVIL, answer=EVIL)
    finding = Finding(level="error", code="c", message=EVIL, hint=EVIL)
    for html in (
        distill_html.tokens_html([row]),
        distill_html.runs_html([run], EVIL),
        distill_html.run_html(run, Curve(), [sample]),
        distill_html.findings_html([finding]),
    ):
        assert "<img" not in html
        assert "&lt;img" in html


def test_a_run_shows_its_figures() -> None:
    started = Started(
        total=4,
        train_rows=9,
        validation_rows=2,
        device="cpu",
        dtype="float32",
        parameters=100,
        trainable=5,
    )
    events = [
        started,
        Eval(step=0, loss=2.0, margin=0.0, accuracy=0.0),
        Step(step=1, total=4, loss=1.9, lr=0.1, seconds=2.0),
        Eval(step=1, loss=1.5, margin=0.25, accuracy=0.5),
    ]
    run = Run(name="r", method="dpo", snapshot_id="s", state=RunState.RUNNING)
    curve = Curve(total=4, train=points(1.9), validation=points(2.0, 1.5))
    html = distill_html.run_html(run, curve, events)
    for text in ("1 of 4", "1.500", "−25.0 %", "+0.250", "50 %", "2.0 s", "6 s", "5.0 % trained"):
        assert text in html, text
    metrics = {"loss_before": 2.0, "loss_after": 1.5}
    assert distill_html.loss_text(metrics) == "2.000 → 1.500 (−25.0 %)"


def test_the_plot_holds_every_point_inside() -> None:
    curve = Curve(total=10, train=points(3.0, 2.0, 1.0), validation=points(2.5, 1.5))
    html = loss_plot(curve)
    assert html.count("<circle") == 2
    assert html.count("<polyline") == 3
    assert "Held-out loss from 2.500 at update 0 to 1.500 at update 1." in html
    assert "begins with" in loss_plot(Curve())
    assert "One held-out loss" in summary(Curve(validation=points(1.0)))
    assert loss_plot(Curve(validation=points(0.0)))  # a flat curve at zero


def test_smoothing_and_ticks() -> None:
    assert [p.value for p in smoothed(points(2.0, 2.0, 2.0))] == pytest.approx([2.0, 2.0, 2.0])
    assert [nice_step(x) for x in (0.03, 0.4, 7.0, 1.0)] == pytest.approx([0.05, 0.5, 10.0, 1.0])


def form_values(**numbers: str) -> list[object]:
    head = ["snap", "sft", "base::24", "balanced", "lora", "cut", "all", " my-run "]
    return [*head, *(numbers.get(field, "") for field in distill_form.NUMBER_FIELDS)]


def test_the_form_as_a_spec() -> None:
    spec = distill_form.spec_of(*form_values(max_steps="12", learning_rate="1e-3"))
    assert spec
    assert (spec.student, spec.keep_layers, spec.name) == ("base", 24, "my-run")
    assert (spec.max_steps, spec.learning_rate, spec.beta) == (12, 1e-3, None)
    assert distill_form.spec_of("", *form_values()[1:]) is None


def test_bad_numbers_name_their_field() -> None:
    with pytest.raises(InvalidInput, match="Updates: 'many' is not a whole number"):
        distill_form.spec_of(*form_values(max_steps="many"))
    with pytest.raises(InvalidInput, match="Learning rate: Input should be less than"):
        distill_form.spec_of(*form_values(learning_rate="7"))
