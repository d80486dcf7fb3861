"""The card of a trained student: what it comes from, how it was trained, how it did. Torch-free."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from distill_studio.core.cards import card_table, counted, front_matter, licence_fields, plain
from distill_studio.core.records import Run
from distill_studio.core.records.base import Record

PackageKind = Literal["merged", "adapter"]
TERMS = "terms-of-base-and-teachers"  # the name of a licence that nobody chose
_METHODS = {
    "sft": "Supervised fine-tuning on the teachers' answers",
    "dpo": "Direct preference optimisation on pairs of answers",
    "kto": "KTO on accepted and rejected answers",
    "logit": "Logit distillation: it follows the teacher's probabilities",
    "on_policy": "On-policy distillation: the teacher corrects what the student writes",
}
_PAIRS = (
    ("loss", "Held-out loss"),
    ("margin", "Held-out margin"),
    ("accuracy", "Held-out accuracy"),
    ("kl", "Held-out KL to the teacher"),
)
_SETTINGS = (
    ("learning_rate", "Learning rate"),
    ("epochs", "Epochs"),
    ("max_steps", "Most updates"),
    ("batch_size", "Rows in a batch"),
    ("grad_accumulation", "Batches in an update"),
    ("max_length", "Most tokens of a row"),
    ("packing", "Rows packed"),
    ("scheduler", "Schedule of the learning rate"),
    ("temperature", "Temperature of the distillation"),
    ("divergence", "Divergence"),
    ("mixture", "Mixture of the divergence"),
    ("seed", "Seed"),
)


class Training(Record):
    """One training on the way to a model, the first one first."""

    run: str = Field(description="Its name.")
    method: str = Field(description="sft, dpo, ...")
    base: str = Field(description="What it started from.")
    snapshot: str = Field(default="", description="Its data.")
    content_hash: str = Field(default="", description="Of the data.")
    rows: int = Field(default=0, description="In its train split.")


class ModelFacts(Record):
    """What is known of a student beyond its run."""

    base_model: str = Field(default="", description="Id on the Hub of what it comes from.")
    repo: str = Field(default="", description="Where it is published, for the example.")
    datasets: tuple[str, ...] = Field(default=(), description="Ids on the Hub of its data.")
    licence: str = Field(default="other", description="Identifier of the Hub's list, or other.")
    licence_name: str = Field(default="", description="Of another licence.")
    licence_link: str = Field(default="", description="To its text.")
    notices: tuple[str, ...] = Field(default=(), description="What the licences want said.")
    trainings: tuple[Training, ...] = Field(default=(), description="From the base to the model.")
    teachers: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Teacher -> `rows`, `models`, `licence_note`."
    )
    sources: dict[str, int] = Field(default_factory=dict, description="Rows by source.")
    recipes: dict[str, int] = Field(default_factory=dict, description="Rows by recipe.")
    benchmarks: tuple[dict[str, Any], ...] = Field(
        default=(), description="Test sets that the data was checked against."
    )
    measured: dict[str, str] = Field(
        default_factory=dict, description="What was measured -> its figure, with its n."
    )


def model_card(run: Run, kind: PackageKind, facts: ModelFacts | None = None) -> str:
    """A model card: what it was trained from and on, how, and with what result."""
    facts = facts or ModelFacts()
    parts = [
        f"# {plain(run.name)}",
        "A student trained with Distill Studio; every setting is in `run.json`.",
        *[f"**{plain(notice)}**" for notice in facts.notices],
        card_table(("", ""), list(_summary(run).items())),
        "## How to use it",
        f"```python\n{_use(kind, facts.repo or 'this folder')}\n```",
        *_way(facts.trainings),
        *_data(facts),
        "## Training",
        card_table(("setting", "value"), _settings(run)),
        "## Evaluation",
        _evaluation(facts.measured),
        "## Limits and terms",
        "It copies its teachers' errors and biases along with their answers, and the terms of the"
        " teachers and of the base model apply. Measure it on your own task before you rely on it.",
    ]
    body = "\n\n".join(part.strip() for part in parts if part)
    return f"{front_matter(_front(run, kind, facts))}\n{body}\n"


def short_id(model_id: str) -> str:
    """What may be published of a model's id: of a folder of this machine its name alone."""
    text = str(model_id)
    is_path = text.startswith(("/", "~", ".")) or "\\" in text or text[1:2] == ":"
    return re.split(r"[/\\]", text.rstrip("/\\"))[-1] if is_path else text


def _front(run: Run, kind: PackageKind, facts: ModelFacts) -> dict[str, Any]:
    is_adapter = kind == "adapter"
    return {
        **licence_fields(facts.licence, facts.licence_name or TERMS, facts.licence_link),
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "base_model": facts.base_model,
        "base_model_relation": ("adapter" if is_adapter else "finetune")
        if facts.base_model
        else "",
        "datasets": list(facts.datasets),
        "tags": ["distill-studio", "distillation", "trl", run.method.replace("_", "-")],
    }


def _summary(run: Run) -> dict[str, Any]:
    student, data = run.config.get("student", {}), run.config.get("data", {})
    found = {
        "Method": _METHODS.get(run.method, run.method.upper()),
        "Base": short_id(student.get("base_id", "")),
        "Layers kept": student.get("keep_layers") or "all",
        "Snapshot": f"{data.get('name', '')} ({str(data.get('content_hash', ''))[:12]})",
    }
    if run.method in ("logit", "on_policy"):
        followed = [run.config.get("teacher") or {}, *(run.config.get("more_teachers") or ())]
        found["Teacher"] = ", ".join(_teacher_name(teacher) for teacher in followed)
    found["Updates"] = run.metrics.get("steps", "")
    for key, label in _PAIRS:
        before, after = run.metrics.get(f"{key}_before"), run.metrics.get(f"{key}_after")
        if key == "loss" or after is not None:
            found |= {f"{label} before": _figure(before), f"{label} after": _figure(after)}
    return found


def _teacher_name(teacher: dict[str, Any]) -> str:
    """What it was called; of one behind a server, which model that served as well."""
    name, server = short_id(str(teacher.get("id", ""))), teacher.get("server")
    return f"{name} ({short_id(server['model'])})" if server else name


def _use(kind: PackageKind, where: str) -> str:
    if kind == "adapter":
        return (
            "from peft import AutoPeftModelForCausalLM\n"
            f'model = AutoPeftModelForCausalLM.from_pretrained("{where}")'
        )
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f'model = AutoModelForCausalLM.from_pretrained("{where}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{where}")'
    )


def _way(trainings: Sequence[Training]) -> list[str]:
    if not trainings:
        return []
    columns = ("training", "method", "from", "snapshot", "rows")
    rows = [
        [
            one.run,
            one.method.upper(),
            short_id(one.base),
            f"{one.snapshot} ({one.content_hash[:12]})" if one.snapshot else "",
            f"{one.rows:,}",
        ]
        for one in trainings
    ]
    return ["## Where it comes from", card_table(columns, rows)]


def _data(facts: ModelFacts) -> list[str]:
    parts = []
    if facts.teachers:
        rows = [
            [
                name or "not named",
                ", ".join(one.get("models", [])) or "not recorded",
                f"{one['rows']:,}",
                one.get("licence_note") or "not stated",
            ]
            for name, one in facts.teachers.items()
        ]
        parts += [
            "### Teachers and their terms",
            card_table(("teacher", "model", "rows", "terms"), rows),
        ]
    for title, column, found in (
        ("Sources", "source", facts.sources),
        ("Recipes", "recipe", facts.recipes),
    ):
        if found:
            parts += [f"### {title}", card_table((column, "rows"), counted(found))]
    if facts.benchmarks:
        rows = [
            [one["name"], f"{one['items']:,}", f"{one['leaked']:,}", f"{one['unchecked']:,}"]
            for one in facts.benchmarks
        ]
        columns = ("test set", "items", "rows that hold one", "rows not checked")
        parts += ["### Decontamination", card_table(columns, rows)]
    return ["## Data", *parts] if parts else []


def _settings(run: Run) -> list[list[str]]:
    rows = [[label, str(run.config[key])] for key, label in _SETTINGS if run.config.get(key)]
    lora = run.config.get("lora")
    rows.append(["Weights", f"LoRA, rank {lora['r']}, alpha {lora['alpha']}" if lora else "all"])
    if seconds := run.metrics.get("seconds"):
        rows.append(["Seconds of training", f"{seconds:,.0f}"])
    return rows


def _evaluation(measured: Mapping[str, str]) -> str:
    if not measured:
        return "Not measured on any suite or benchmark."
    return card_table(("measured", "figure"), list(measured.items()))


def _figure(value: Any) -> str:  # noqa: ANN401
    return f"{value:.4f}" if isinstance(value, int | float) else "not measured"
