"""The form of a training: its widgets, and what they say as a `TrainSpec`."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.core.records import Snapshot
from distill_studio.distill.config import FORMATS_OF_METHOD, TrainSpec
from distill_studio.distill.presets import PRESETS
from distill_studio.distill.students import StudentChoice

_PRUNED = "::"  # between a student's id and the layers to keep
_METHODS = [("SFT: learn the answers", "sft"), ("DPO: learn the preferences", "dpo")]


@dataclass(frozen=True)
class DistillForm:
    """The widgets, in the order in which `spec_of` takes their values."""

    snapshot: gr.Dropdown
    method: gr.Radio
    student: gr.Dropdown
    preset: gr.Radio
    weights: gr.Radio
    numbers: list[gr.Number]
    over_length: gr.Radio
    learn: gr.Radio
    name: gr.Textbox
    about: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        """For `spec_of`."""
        return [
            self.snapshot,
            self.method,
            self.student,
            self.preset,
            self.weights,
            self.over_length,
            self.learn,
            self.name,
            *self.numbers,
        ]

    @property
    def watched(self) -> list[Any]:
        """Widgets whose change calls for a new pre-flight (a new method changes the snapshot)."""
        choices = [self.snapshot, self.student, self.preset, self.weights, self.over_length]
        return [*choices, self.method, self.learn, *self.numbers]


_NUMBERS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("max_length", "Longest length", "Tokens of a row; longer rows are cut.", {"precision": 0}),
    ("learning_rate", "Learning rate", "The peak.", {}),
    ("max_steps", "Updates", "Empty: the preset's, or by passes.", {"precision": 0}),
    ("epochs", "Passes", "Over all rows, instead of updates.", {}),
    ("batch_size", "Batch size", "Rows per forward pass.", {"precision": 0}),
    ("grad_accumulation", "Accumulation", "Forward passes per update.", {"precision": 0}),
    ("lora_r", "LoRA rank", "Empty: 16.", {"precision": 0}),
    ("beta", "DPO beta", "DPO only: pull towards the start.", {}),
    ("eval_every", "Held-out loss every", "Updates.", {"precision": 0}),
    ("seed", "Seed", "Order of rows.", {"precision": 0}),
)
NUMBER_FIELDS = tuple(field for field, *_ in _NUMBERS)


def build_form() -> DistillForm:
    """Make the widgets."""
    with gr.Row(elem_classes="ds-fields"):
        snapshot = gr.Dropdown(label="Snapshot", elem_id="distill-snapshot", scale=2)
        student = gr.Dropdown(label="Student", elem_id="distill-student", scale=2)
    with gr.Row(elem_classes="ds-fields"):
        method = gr.Radio(_METHODS, value="sft", label="Method", elem_id="distill-method")
        preset = gr.Radio(
            preset_choices("sft"), value="balanced", label="Preset", elem_id="distill-preset"
        )
    about = gr.HTML(elem_id="distill-about", apply_default_css=False)
    with gr.Accordion("Advanced: empty fields follow the preset", open=False):
        with gr.Row(elem_classes="ds-fields"):
            weights = gr.Radio(
                [("LoRA adapter", "lora"), ("full weights", "full")],
                value="lora",
                label="What is trained",
                elem_id="distill-weights",
            )
            over_length = gr.Radio(
                [("cut their ends", "cut"), ("leave them out", "drop")],
                value="cut",
                label="Rows over the longest length",
                elem_id="distill-over-length",
            )
            learn = gr.Radio(
                [("all assistant turns", "all"), ("the last answer", "last")],
                value="all",
                label="Learned in conversations (SFT)",
                elem_id="distill-learn",
            )
        numbers = []
        for start in range(0, len(_NUMBERS), 5):
            with gr.Row(elem_classes="ds-fields"):
                numbers += [_number(*row) for row in _NUMBERS[start : start + 5]]
        name = gr.Textbox(
            label="Name of the run",
            placeholder="empty: made from method and snapshot",
            max_lines=1,
            elem_id="distill-name",
        )
    return DistillForm(
        snapshot, method, student, preset, weights, numbers, over_length, learn, name, about
    )


def _number(field: str, label: str, info: str, options: dict[str, Any]) -> gr.Number:
    return gr.Number(
        value=None,
        label=label,
        info=info,
        minimum=0,
        elem_id=f"distill-{field.replace('_', '-')}",
        min_width=130,
        **options,
    )


def spec_of(*values: Any) -> TrainSpec | None:  # noqa: ANN401  (values of the widgets)
    """The choice; None while no snapshot or student is chosen."""
    snapshot, method, student, preset, weights, over_length, learn, name, *numbers = values
    if not snapshot or not student:
        return None
    base, _, keep = str(student).partition(_PRUNED)
    fields = {field: value for field, value in zip(NUMBER_FIELDS, numbers, strict=True) if value}
    if method != "dpo":
        fields.pop("beta", None)
    return TrainSpec(
        snapshot=snapshot,
        method=method,
        student=base,
        keep_layers=int(keep) if keep else None,
        preset=preset or "balanced",
        name=(name or "").strip(),
        weights=weights,
        over_length=over_length,
        learn=learn if method == "sft" else None,
        **fields,
    )


def preset_choices(method: str) -> list[tuple[str, str]]:
    """(label, id) of a method's presets."""
    return [(preset.label, preset.name) for preset in PRESETS[method].values()]


def preset_text(method: str, preset: str) -> str:
    """What a preset does, in a sentence with its figures."""
    found = PRESETS[method].get(preset)
    if found is None:
        return ""
    values = found.values
    length = f"rows of up to {values['max_length']} tokens"
    return f"{found.description} Learning rate {values['learning_rate']:g}, {length}."


def snapshot_choices(snapshots: list[Snapshot], method: str) -> list[tuple[str, str]]:
    """(label, name), those that fit the method first."""
    fitting = FORMATS_OF_METHOD[method]
    ordered = sorted(snapshots, key=lambda s: s.format not in fitting)
    return [
        (f"{s.name} ({s.train_rows} + {s.validation_rows} rows, {s.format})", s.name)
        for s in ordered
    ]


def student_options(choices: list[StudentChoice]) -> list[tuple[str, str]]:
    """(label, value) of each student, with its pruned copy where there is one."""
    options = []
    for choice in choices:
        layers = f" ({choice.layers} layers)" if choice.layers else ""
        options.append((f"{choice.label}{layers}", choice.id))
        if choice.pruned_layers and choice.kind == "base":
            keep = choice.pruned_layers
            label = f"{choice.label}, pruned to {keep} of {choice.layers} layers"
            options.append((label, f"{choice.id}{_PRUNED}{keep}"))
    return options
