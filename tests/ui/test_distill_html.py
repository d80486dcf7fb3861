"""What the Distill tab shows: safe, and true to the figures."""

import gradio as gr
import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import JobState, Plan, PlanKind, Run, RunNote, RunState
from distill_studio.distill import failures
from distill_studio.distill.curve import Curve, Point
from distill_studio.distill.events import Eval, Note, Sample, Started, Step
from distill_studio.distill.findings import Finding
from distill_studio.distill.planning import measure_of
from distill_studio.distill.plot import nice_step, smoothed
from distill_studio.distill.spec import OWNERS, TrainSpec
from distill_studio.distill.students import server_choices
from distill_studio.distill.token_view import TokenPiece, TokenRow
from distill_studio.services.plans import PlanRow, PlanView
from distill_studio.ui.panels import distill_form, distill_html
from distill_studio.ui.panels import run_parts_html as parts
from distill_studio.ui.panels.distill_fields import FIELD_NAMES, GROUPS, NOT_IN_THE_FORM
from distill_studio.ui.panels.loss_plot import loss_plot, summary
from distill_studio.ui.panels.plans_html import plan_html, stages_html

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
        distill_html.run_html(run, Curve(), []),
        distill_html.runs_html([run.model_copy(update={"name": "r"})], "", {"r": EVIL}),
        parts.samples_html([sample], parts.NEWEST),
        parts.worker_notes_html([Note(message=EVIL)]),
        parts.notes_html([RunNote(run_id="i", user=EVIL, text=EVIL)], "", is_owner=True),
        parts.settings_html(run),
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


def form_values(**chosen: str | bool) -> list[object]:
    usual: dict[str, str | bool] = {
        "snapshot": "snap",
        "method": "sft",
        "student": "base::24",
        "preset": "balanced",
        "weights": "lora",
        "over_length": "cut",
        "learn": "all",
        "teacher": "base",
        "divergence": "forward_kl",
        "signal": "draws",
        "feature_loss": "cosine",
        "dpo_loss": "sigmoid",
        "name": " my-run ",
    }
    return [(usual | chosen).get(field, "") for field in FIELD_NAMES]


def test_the_form_as_a_spec() -> None:
    spec = distill_form.spec_of(*form_values(max_steps="12", learning_rate="1e-3"))
    assert spec
    assert (spec.student, spec.keep_layers, spec.name) == ("base", 24, "my-run")
    assert (spec.max_steps, spec.learning_rate, spec.beta) == (12, 1e-3, None)
    assert distill_form.spec_of(*form_values(snapshot="")) is None


def test_what_belongs_to_logit_distillation_reaches_only_its_spec() -> None:
    values = {"temperature": "2", "alpha": "0.2", "beta": "0.5", "top_k": "32"}
    sft = distill_form.spec_of(*form_values(**values))
    logit = distill_form.spec_of(*form_values(method="logit", **values))
    assert sft
    assert logit
    assert (sft.teacher, sft.temperature, sft.beta, sft.signal) == (None, None, None, None)
    assert (logit.teacher, logit.divergence) == ("base", "forward_kl")
    assert (logit.signal, logit.kept, logit.top_k) == ("cache", "draws", 32)
    assert (logit.alpha, logit.beta, logit.temperature) == (0.2, 0.5, 2.0)
    assert (logit.feature_weight, logit.feature_loss, logit.feature_layers) == (None, None, None)
    online = distill_form.spec_of(
        *form_values(method="logit", signal="online", feature_weight="2", feature_layers="8:10")
    )
    assert online
    assert (online.signal, online.kept) == ("online", None)
    assert (online.feature_weight, online.feature_loss) == (2.0, "cosine")
    assert online.feature_layers == "8:10"
    assert online.across_tokenizers is None
    across = distill_form.spec_of(*form_values(method="logit", across_tokenizers="hybrid"))
    assert across
    assert across.across_tokenizers == "hybrid"


def test_dpo_and_kto_get_what_is_theirs() -> None:
    numbers = {"label_smoothing": "0.2", "sft_weight": "0.5", "undesirable_weight": "2"}
    dpo = distill_form.spec_of(
        *form_values(method="dpo", dpo_loss="robust", reference="stored", **numbers)
    )
    assert dpo
    assert (dpo.dpo_loss, dpo.label_smoothing, dpo.sft_weight) == ("robust", 0.2, 0.5)
    assert (dpo.reference, dpo.undesirable_weight, dpo.learn) == ("stored", None, None)
    kto = distill_form.spec_of(*form_values(method="kto", **numbers))
    assert kto
    assert (kto.undesirable_weight, kto.desirable_weight, kto.dpo_loss) == (2.0, None, None)
    assert kto.reference is None


def test_on_policy_and_several_teachers_reach_their_spec() -> None:
    spec = distill_form.spec_of(
        *form_values(
            method="on_policy",
            divergence="reverse_kl",
            more_teachers=" run:b*2 ",
            answer_tokens="40",
            alpha="0.3",
        )
    )
    assert spec
    assert (spec.divergence, spec.more_teachers, spec.answer_tokens) == (
        "reverse_kl",
        "run:b*2",
        40,
    )
    assert (spec.alpha, spec.signal, spec.learn) == (None, None, None)


def test_an_on_policy_run_has_no_cross_entropy_to_show() -> None:
    run = Run(name="r", method="on_policy", snapshot_id="s", state=RunState.RUNNING)
    step = Step(step=1, total=4, loss=1.9, kl=1.9, lr=0.1, answer_tokens=21.4)
    evals = [Eval(step=0, loss=2.0, kl=2.0), step, Eval(step=1, loss=1.5, kl=1.5)]
    html = distill_html.run_html(run, Curve(total=4, kl=points(1.9)), evals)
    for text in ("ON-POLICY", "KL to the teacher", "21 tokens"):
        assert text in html, text
    assert "Cross-entropy" not in html


def test_a_kto_run_shows_its_margin_alone() -> None:
    run = Run(name="r", method="kto", snapshot_id="s", state=RunState.RUNNING)
    html = distill_html.run_html(run, Curve(total=4), [Eval(step=0, loss=2.0, margin=0.5)])
    assert "+0.500" in html
    assert "ranked right" not in html


def test_groups_and_fields_of_the_form_are_whole() -> None:
    assert list(distill_form._BUILDERS) == list(GROUPS)
    with gr.Blocks():
        form = distill_form.build_form()
    assert list(form.groups) == list(GROUPS)
    owned = {name for name in OWNERS if name in FIELD_NAMES}
    assert {"beta", "teacher", "dpo_loss", "reference", "undesirable_weight"} <= owned


def test_cross_entropy_and_kl_are_drawn_apart() -> None:
    run = Run(name="r", method="logit", snapshot_id="s", state=RunState.RUNNING)
    evals = [Eval(step=0, loss=2.0, ce=2.9, kl=1.9), Eval(step=2, loss=1.0, ce=2.8, kl=0.8)]
    drawn = Curve(
        total=4,
        train=points(2.0, 1.5),
        kl=points(1.9, 1.2),
        ce=points(2.9, 2.8),
        held_kl=points(1.9, 0.8),
        held_ce=points(2.9, 2.8),
        validation=points(2.0, 1.0),
    )
    html = distill_html.run_html(run, drawn, evals)
    for text in ("KL to the teacher, times T²", "Cross-entropy with the answers", "0.800", "2.800"):
        assert text in html, text
    assert html.count("<svg") == 3
    plain = distill_html.run_html(run, Curve(total=4, train=points(1.9)), evals[:0])
    assert "KL to the teacher" not in plain


def test_bad_numbers_name_their_field() -> None:
    with pytest.raises(InvalidInput, match="Updates: 'many' is not a whole number"):
        distill_form.spec_of(*form_values(max_steps="many"))
    with pytest.raises(InvalidInput, match="Learning rate: Input should be less than"):
        distill_form.spec_of(*form_values(learning_rate="7"))


def test_a_plan_is_one_table() -> None:
    row = PlanRow(
        number=1,
        run=EVIL,
        method="logit",
        settings={"learning_rate": 1e-4},
        state="done",
        metrics={"kl_after": 0.5, "steps": 3},
        is_best=True,
    )
    waiting = row.model_copy(update={"state": "waiting", "metrics": {}, "is_best": False})
    plan = Plan(name="g", kind=PlanKind.GRID, specs=[{}, {}], grid={"learning_rate": [1e-4, 1.0]})
    measure = measure_of("logit", ["learning_rate"], "KL to the teacher")
    view = PlanView(
        plan=plan,
        state=JobState.RUNNING,
        rows=[row, waiting],
        measure=measure,
        kl_label="ULD to the teacher",
    )
    html = plan_html(view)
    for text in ("Learning rate", "0.0001", "0.500", "best", "1 of 2 runs", "ULD to the teacher"):
        assert text in html, text
    assert "<img" not in html
    assert html.count("best") == 1
    stage = TrainSpec(snapshot=EVIL, student=EVIL, method="on_policy", max_steps=4)
    listed = stages_html([stage, stage])
    assert "<img" not in listed
    assert "ON-POLICY" in listed
    assert "going on from stage 1" in listed
    assert "4 updates" in listed
    assert "No stages yet" in stages_html([])


def test_a_run_that_lacked_memory_may_go_on_with_half_the_batch() -> None:

    failed = failures.explain(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB."))
    run = Run(
        name="r",
        method="sft",
        snapshot_id="s",
        state=RunState.FAILED,
        config={"batch_size": 4},
        error=f"{failed.message} {failed.hint}",
    )
    assert distill_html.wants_lighter(run)
    html = distill_html.run_html(run, Curve(), [])
    assert failures.NO_GPU_MEMORY.replace("'", "&#x27;") in html
    assert "Resume with half the batch" in html
    assert not distill_html.wants_lighter(run.model_copy(update={"config": {"batch_size": 1}}))
    assert not distill_html.wants_lighter(run.model_copy(update={"error": failures.DISK_FULL}))


def test_a_server_as_teacher_is_asked_once() -> None:
    assert distill_form.signal_for("server:Big one", "online") == "top_k"
    assert distill_form.signal_for("smollm2-135m-instruct", "draws") == "draws"
    assert distill_form.signal_for(None, "online") == "online"
    options = distill_form.teacher_options(server_choices(["Big one"]))
    assert options == [("Big one, by its server", "server:Big one")]
    spec = distill_form.spec_of(
        *form_values(method="logit", signal="top_k", teacher="server:Big one")
    )
    assert spec is not None
    assert (spec.teacher, spec.signal, spec.kept) == ("server:Big one", "cache", "top_k")


def test_every_setting_of_a_training_has_a_field() -> None:
    """But for those that are told otherwise, or have a reason; each is a widget of its own name."""
    assert set(TrainSpec.model_fields) - set(FIELD_NAMES) == set(NOT_IN_THE_FORM)
    with gr.Blocks():
        form = distill_form.build_form()
    assert set(form.kept) == set(FIELD_NAMES) - {"name"}  # the browser remembers them
    spec = distill_form.spec_of(*(field.value for field in _with(form, snapshot="s", student="m")))
    assert spec == TrainSpec(
        snapshot="s",
        student="m",
        scheduler="cosine",
        dtype="auto",
        quantise="none",
        sharding="none",
        tracker="none",
        over_length="cut",
        learn="all",
        packing=False,
    )


def _with(form: distill_form.DistillForm, **values: str) -> list[object]:
    for name, value in values.items():
        form.fields[name].value = value
    return form.inputs


def test_what_was_for_the_shell_alone_reaches_the_spec() -> None:
    chosen = {"scheduler": "linear", "dtype": "bf16", "quantise": "nf4", "sharding": "fsdp"}
    chosen["tracker"] = "trackio"
    numbers = {"devices": "2", "keep_layers": "7", "lora_alpha": "64", "warmup_ratio": "0.1"}
    more = {"eval_rows": "9", "save_every": "11", "weight_decay": "0.1", "max_grad_norm": "2"}
    spec = distill_form.spec_of(*form_values(packing=True, **chosen, **numbers, **more))
    assert spec
    assert {name: getattr(spec, name) for name in chosen} == chosen
    for name, text in {**numbers, **more}.items():
        assert getattr(spec, name) == float(text), name
    assert spec.packing
    assert spec.student == "base"  # whose own depth, 24, gave way to 7
    dpo = distill_form.spec_of(*form_values(method="dpo", packing=True))
    assert dpo
    assert dpo.packing is None
    jsd = distill_form.spec_of(*form_values(method="logit", divergence="jsd", mixture="0.3"))
    plain = distill_form.spec_of(*form_values(method="logit", mixture="0.3"))
    assert jsd
    assert plain
    assert (jsd.mixture, plain.mixture) == (0.3, None)
    with pytest.raises(InvalidInput, match="Warm-up: Input should be less"):
        distill_form.spec_of(*form_values(warmup_ratio="2"))
