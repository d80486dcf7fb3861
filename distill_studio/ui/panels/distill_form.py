"""The form of a training: its widgets, and what they say as a `TrainSpec`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from pydantic import ValidationError

from distill_studio.core.errors import InvalidInput
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
    numbers: list[gr.Textbox]
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
    def kept(self) -> dict[str, Any]:
        """What the browser remembers: all but the run's name, which is for one run."""
        numbers = dict(zip(NUMBER_FIELDS, self.numbers, strict=True))
        return {
            "snapshot": self.snapshot,
            "method": self.method,
            "student": self.student,
            "preset": self.preset,
            "weights": self.weights,
            "over_length": self.over_length,
            "learn": self.learn,
            **numbers,
        }

    @property
    def watched(self) -> list[Any]:
        """Widgets whose change calls for a new pre-flight (a new method changes the snapshot)."""
        choices = [self.snapshot, self.student, self.preset, self.weights, self.over_length]
        return [*choices, self.method, self.learn]


# field, label, what it is, kind of number
_NUMBERS: tuple[tuple[str, str, str, type[int] | type[float]], ...] = (
    ("max_length", "Longest length", "tokens of a row", int),
    ("learning_rate", "Learning rate", "at its peak", float),
    ("max_steps", "Updates", "or by passes", int),
    ("epochs", "Passes", "instead of updates", float),
    ("batch_size", "Batch size", "rows at a time", int),
    ("grad_accumulation", "Accumulation", "batches per update", int),
    ("lora_r", "LoRA rank", "size of the adapter", int),
    ("beta", "DPO beta", "pull to the start", float),
    ("eval_every", "Held-out loss every", "updates", int),
    ("seed", "Seed", "order of rows", int),
)
NUMBER_FIELDS = tuple(field for field, *_ in _NUMBERS)
_FALLBACKS: dict[str, Any] = {"lora_r": 16, "grad_accumulation": 1, "seed": 17}


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


def _number(field: str, label: str, info: str, _: type) -> gr.Textbox:
    return gr.Textbox(
        label=label,
        info=info,
        placeholder=placeholder(field, "sft", "balanced"),
        max_lines=1,
        elem_id=f"distill-{field.replace('_', '-')}",
        min_width=130,
    )


def placeholder(field: str, method: str, preset: str) -> str:
    """What a field is worth when it is left empty."""
    found = PRESETS[method].get(preset)
    value = (found.values if found else {}).get(field, _FALLBACKS.get(field))
    return "" if value is None else f"{value:g}"


def placeholders(method: str, preset: str) -> list[gr.Textbox]:
    """The number fields with what the preset says."""
    return [gr.Textbox(placeholder=placeholder(field, method, preset)) for field in NUMBER_FIELDS]


def _parsed(texts: Sequence[str]) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for (field, label, _, kind), text in zip(_NUMBERS, texts, strict=True):
        if not (text or "").strip():
            continue
        try:
            found[field] = kind(text)
        except ValueError as err:
            what = "a whole number" if kind is int else "a number"
            raise InvalidInput(f"{label}: '{text}' is not {what}.") from err
    return found


def spec_of(*values: Any) -> TrainSpec | None:  # noqa: ANN401  (values of the widgets)
    """The choice; None while no snapshot or student is chosen."""
    snapshot, method, student, preset, weights, over_length, learn, name, *numbers = values
    if not snapshot or not student:
        return None
    base, _, keep = str(student).partition(_PRUNED)
    fields: dict[str, Any] = dict(_parsed(numbers))
    if method != "dpo":
        fields.pop("beta", None)
    return _checked(
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


def _checked(**fields: Any) -> TrainSpec:  # noqa: ANN401
    try:
        return TrainSpec(**fields)
    except ValidationError as err:
        problem = err.errors()[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        label = {name: text for name, text, *_ in _NUMBERS}.get(field, field)
        raise InvalidInput(f"{label}: {problem['msg']}.") from err


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
