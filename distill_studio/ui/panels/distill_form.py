"""The form of a training: its widgets, and what they say as a `TrainSpec`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from pydantic import ValidationError

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Snapshot
from distill_studio.distill.config import FORMATS_OF_METHOD, PRUNING
from distill_studio.distill.spec import OWNERS, TrainSpec
from distill_studio.distill.students import SERVER_PREFIX, StudentChoice
from distill_studio.ui.panels import distill_fields as fields
from distill_studio.ui.panels.distill_fields import FIELD_NAMES, GROUPS, NUMBERS

_NEVER_EMPTY = ("scheduler", "dtype", "quantise", "sharding", "across_tokenizers", "tracker")
_PRUNING_TITLE = "Prune the student: layers and width"
PRUNED = "::"  # between a student's id and the layers to keep


@dataclass(frozen=True)
class DistillForm:
    """The widgets by name, in the order in which `spec_of` takes their values."""

    fields: dict[str, Any]
    groups: dict[str, gr.Column]  # shown for some methods only
    about: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        """For `spec_of`."""
        return list(self.fields.values())

    @property
    def kept(self) -> dict[str, Any]:
        """What the browser remembers: all but the run's name, which is for one run."""
        return {name: field for name, field in self.fields.items() if name != "name"}

    @property
    def numbers(self) -> list[gr.Textbox]:
        """Fields that follow the preset where they are empty."""
        return [self.fields[name] for name in NUMBERS]

    @property
    def texts(self) -> list[gr.Textbox]:
        """Fields that call for a new pre-flight when they are left."""
        return [f for f in self.kept.values() if isinstance(f, gr.Textbox)]

    @property
    def watched(self) -> list[Any]:
        """Widgets whose change calls for a new pre-flight (a new method changes the snapshot)."""
        return [f for f in self.kept.values() if not isinstance(f, gr.Textbox)]


def build_form() -> DistillForm:
    """Make the widgets."""
    made: dict[str, Any] = {}
    with gr.Row(elem_classes="ds-fields"):
        made["snapshot"] = gr.Dropdown(label="Snapshot", elem_id="distill-snapshot", scale=2)
        made["student"] = gr.Dropdown(label="Student", elem_id="distill-student", scale=2)
    with gr.Accordion(_PRUNING_TITLE, open=False), gr.Row(elem_classes="ds-fields"):
        made |= {name: _number(name) for name in PRUNING}
    with gr.Row(elem_classes="ds-fields"):
        made["method"] = gr.Radio(
            fields.METHODS, value="sft", label="Method", elem_id="distill-method"
        )
        made["preset"] = gr.Radio(
            fields.preset_choices("sft"), value="balanced", label="Preset", elem_id="distill-preset"
        )
    groups: dict[str, gr.Column] = {}
    for name, build in _BUILDERS.items():
        with gr.Column(visible="sft" in GROUPS[name]) as groups[name]:
            made |= build()
    about = gr.HTML(elem_id="distill-about", apply_default_css=False)
    with gr.Accordion("Advanced: empty fields follow the preset", open=False):
        made |= _advanced()
    return DistillForm({name: made[name] for name in FIELD_NAMES}, groups, about)


def _teacher_group() -> dict[str, Any]:
    made: dict[str, Any] = {}
    with gr.Row(elem_classes="ds-fields"):
        made["teacher"] = gr.Dropdown(label="Teacher", elem_id="distill-teacher", scale=2)
        made["divergence"] = gr.Dropdown(
            fields.DIVERGENCES,
            value="forward_kl",
            label="What is minimised",
            elem_id="distill-divergence",
            scale=2,
        )
        made["temperature"] = _number("temperature")
        made["mixture"] = _number("mixture")
    with gr.Accordion("Several teachers", open=False), gr.Row(elem_classes="ds-fields"):
        made["teacher_weight"] = _number("teacher_weight")
        made["more_teachers"] = _text(
            "more_teachers",
            "Other teachers",
            "their probabilities are mixed in; a weight behind *",
            "run:big*2, smollm2-135m-instruct",
        )
    return made


def _on_policy_group() -> dict[str, Any]:
    with gr.Row(elem_classes="ds-fields"):
        return {name: _number(name) for name in fields.ON_POLICY_NUMBERS}


def _logit_group() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["signal"] = gr.Radio(
        fields.SIGNALS,
        value="online",
        label="The teacher is asked",
        info="Stored, it serves every later run on the same rows and needs no memory beside"
        " the student.",
        elem_id="distill-signal",
    )
    made["across_tokenizers"] = gr.Radio(
        fields.ACROSS,
        value="answers",
        label="Across tokenizers",
        info="A teacher with another tokenizer than the student's is compared where tokens of both"
        " end together. Answers alone: only teachers with the student's own are followed.",
        elem_id="distill-across-tokenizers",
    )
    with gr.Row(elem_classes="ds-fields"):
        made |= {name: _number(name) for name in fields.LOGIT_NUMBERS}
    with (
        gr.Accordion("Feature distillation: hidden states too", open=False),
        gr.Row(elem_classes="ds-fields"),
    ):
        made["feature_weight"] = _number("feature_weight")
        made["feature_loss"] = gr.Radio(
            fields.FEATURE_LOSSES,
            value="cosine",
            label="Brought together by",
            elem_id="distill-feature-loss",
        )
        made["feature_layers"] = _text(
            "feature_layers",
            "Layers, student:teacher",
            "such as 8:10, 16:20",
            "empty: spread evenly, shown below",
        )
    return made


def _dpo_group() -> dict[str, Any]:
    made: dict[str, Any] = {}
    with gr.Row(elem_classes="ds-fields"):
        made["dpo_loss"] = gr.Dropdown(
            fields.DPO_LOSSES,
            value="sigmoid",
            label="Loss",
            info="By what is special about the pairs.",
            elem_id="distill-dpo-loss",
        )
    with gr.Row(elem_classes="ds-fields"):
        made |= {name: _number(name) for name in fields.DPO_NUMBERS}
    return made


def _kto_group() -> dict[str, Any]:
    with gr.Row(elem_classes="ds-fields"):
        return {name: _number(name) for name in fields.KTO_NUMBERS}


def _reference_group() -> dict[str, Any]:
    radio = gr.Radio(
        fields.REFERENCES,
        value="",
        label="The student before training, for reference",
        elem_id="distill-reference",
    )
    return {"reference": radio}


def _reasoning_group() -> dict[str, Any]:
    with gr.Accordion("Reasoning", open=False), gr.Row(elem_classes="ds-fields"):
        return {name: _number(name) for name in fields.REASONING_NUMBERS}


_BUILDERS: dict[str, Callable[[], dict[str, Any]]] = {
    "teacher": _teacher_group,
    "logit": _logit_group,
    "on_policy": _on_policy_group,
    "dpo": _dpo_group,
    "kto": _kto_group,
    "reference": _reference_group,
    "reasoning": _reasoning_group,
}


def _advanced() -> dict[str, Any]:
    made: dict[str, Any] = {}
    with gr.Row(elem_classes="ds-fields"):
        made["weights"] = gr.Radio(
            [("LoRA adapter", "lora"), ("full weights", "full")],
            value="lora",
            label="What is trained",
            elem_id="distill-weights",
        )
        made["over_length"] = gr.Radio(
            [("cut their ends", "cut"), ("leave them out", "drop")],
            value="cut",
            label="Rows over the longest length",
            elem_id="distill-over-length",
        )
        made["learn"] = gr.Radio(
            [("all assistant turns", "all"), ("the last answer", "last")],
            value="all",
            label="Learned in conversations",
            elem_id="distill-learn",
        )
    common = fields.COMMON_NUMBERS
    for start in range(0, len(common), 5):
        with gr.Row(elem_classes="ds-fields"):
            made |= {name: _number(name) for name in common[start : start + 5]}
    for title, build in _MORE.items():
        with gr.Accordion(title, open=False):
            made |= build()
    made["name"] = gr.Textbox(
        label="Name of the run",
        placeholder="empty: made from method and snapshot",
        max_lines=1,
        elem_id="distill-name",
    )
    return made


def _schedule() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["scheduler"] = gr.Radio(
        fields.SCHEDULERS,
        value="cosine",
        label="After warm-up the learning rate falls",
        elem_id="distill-scheduler",
    )
    with gr.Row(elem_classes="ds-fields"):
        made |= {name: _number(name) for name in fields.SCHEDULE_NUMBERS}
    with gr.Row(elem_classes="ds-fields"):
        made |= {name: _number(name) for name in fields.RHYTHM_NUMBERS}
    made["tracker"] = gr.Radio(
        fields.TRACKERS,
        value="none",
        label="The curves also go to",
        info="Its package is installed apart; where it is missing the run says so and goes on.",
        elem_id="distill-tracker",
    )
    return made


def _machine() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["packing"] = gr.Checkbox(
        label="Pack short rows",
        info="SFT and logit distillation: the rows of a batch are read end to end instead of padded"
        " to one length. The same loss in less time where lengths differ; measured before the first"
        " update, and refused where the model cannot keep rows apart.",
        elem_id="distill-packing",
    )
    with gr.Row(elem_classes="ds-fields"):
        made["dtype"] = gr.Radio(
            fields.DTYPES,
            value="auto",
            label="Numbers",
            info="What it computes in; fp32 where a loss is no longer a number.",
            elem_id="distill-dtype",
        )
        made["quantise"] = gr.Radio(
            fields.QUANTISE,
            value="none",
            label="Frozen weights",
            info="Four bits take a quarter of the memory; LoRA on an NVIDIA GPU alone.",
            elem_id="distill-quantise",
        )
    with gr.Row(elem_classes="ds-fields"):
        made["devices"] = _number("devices")
        made["sharding"] = gr.Radio(
            fields.SHARDINGS,
            value="none",
            label="The student is",
            info="Spread, one that fits on no GPU alone can train on several.",
            elem_id="distill-sharding",
            scale=3,
        )
    return made


# title of a collapsed group of the advanced part, and what makes it
_MORE: dict[str, Callable[[], dict[str, Any]]] = {
    "Schedule, adapter and checkpoints": _schedule,
    "Speed and memory: packing, numbers, devices": _machine,
}


def _number(field: str) -> gr.Textbox:
    label, info, _ = NUMBERS[field]
    return _text(field, label, info, fields.placeholder(field, "sft", "balanced", "lora"))


def _text(field: str, label: str, info: str, placeholder: str) -> gr.Textbox:
    return gr.Textbox(
        label=label,
        info=info,
        placeholder=placeholder,
        max_lines=1,
        elem_id=f"distill-{field.replace('_', '-')}",
        min_width=130,
    )


def placeholders(method: str, preset: str, weights: str, dpo_loss: str) -> list[gr.Textbox]:
    """The number fields with what the preset says."""
    return [
        gr.Textbox(placeholder=fields.placeholder(field, method, preset, weights, dpo_loss))
        for field in NUMBERS
    ]


def shown_groups(method: str) -> list[gr.Column]:
    """The groups of fields, those of other methods hidden."""
    return [gr.Column(visible=method in methods) for methods in GROUPS.values()]


def named(values: tuple[Any, ...]) -> dict[str, Any]:
    """The widgets' values by name."""
    return dict(zip(FIELD_NAMES, values, strict=True))


def spec_of(*values: Any) -> TrainSpec | None:  # noqa: ANN401  (values of the widgets)
    """The choice; None while no snapshot or student is chosen."""
    chosen = named(values)
    if not chosen["snapshot"] or not chosen["student"]:
        return None
    method = chosen["method"]
    numbers = _parsed({name: chosen.pop(name) for name in NUMBERS})
    base, _, keep = str(chosen["student"]).partition(PRUNED)
    chosen |= {
        "student": base,
        "keep_layers": int(keep) if keep else None,
        "preset": chosen["preset"] or "balanced",
        "name": (chosen["name"] or "").strip(),
        "teacher": chosen["teacher"] or None,
        "more_teachers": (chosen["more_teachers"] or "").strip() or None,
        "signal": "online" if chosen["signal"] == "online" else "cache",
        "reference": chosen["reference"] or None,
        "kept": chosen["signal"] if chosen["signal"] in ("top_k", "draws") else None,
        "packing": bool(chosen["packing"]),
        **{name: chosen[name] or None for name in _NEVER_EMPTY},
    }
    if chosen["divergence"] not in fields.MIXED:
        numbers.pop("mixture", None)  # the others have none
    if not numbers.get("feature_weight"):
        chosen |= {"feature_loss": None, "feature_layers": None}
    found = {**chosen, **numbers}
    return _checked({n: v for n, v in found.items() if method in OWNERS.get(n, (method,))})


def _parsed(texts: Mapping[str, str]) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for name, text in texts.items():
        if not (text or "").strip():
            continue
        label, _, kind = NUMBERS[name]
        try:
            found[name] = kind(text)
        except ValueError as err:
            what = "a whole number" if kind is int else "a number"
            raise InvalidInput(f"{label}: '{text}' is not {what}.") from err
    return found


def _checked(chosen: Mapping[str, Any]) -> TrainSpec:
    try:
        return TrainSpec(**chosen)
    except ValidationError as err:
        problem = err.errors()[0]
        field = str(problem["loc"][0]) if problem["loc"] else ""
        label = NUMBERS[field][0] if field in NUMBERS else field
        raise InvalidInput(f"{label}: {problem['msg']}.") from err


def signal_for(teacher: str | None, signal: str) -> str:
    """How a teacher just chosen is asked: a server tells its top-k once, and nothing else."""
    return "top_k" if (teacher or "").startswith(SERVER_PREFIX) else signal


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
            options.append((label, f"{choice.id}{PRUNED}{keep}"))
    return options


def teacher_options(choices: list[StudentChoice]) -> list[tuple[str, str]]:
    """(label, value) of each model that can be asked for its probabilities."""
    return [
        (f"{choice.label} ({choice.layers} layers)" if choice.layers else choice.label, choice.id)
        for choice in choices
    ]
