"""The card of a trained student: what it comes from, how it was trained, how it did. Torch-free."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from distill_studio.core.cards import card_table, counted, front_matter, licence_fields, plain
from distill_studio.core.records import Run
from distill_studio.core.records.base import Record
from distill_studio.distill.curve import Curve
from distill_studio.distill.curve_picture import PICTURE, curve_picture, curve_rows
from distill_studio.distill.measures import kl_words
from distill_studio.distill.model_names import short_id
from distill_studio.distill.pruning import pruning_text
from distill_studio.distill.settings_text import setting_rows

PackageKind = Literal["merged", "adapter"]
TERMS = "terms-of-base-and-teachers"  # the name of a licence that nobody chose
_METHODS = {
    "sft": "Supervised fine-tuning on the teachers' answers",
    "dpo": "Direct preference optimisation on pairs of answers",
    "kto": "KTO on accepted and rejected answers",
    "logit": "Logit distillation: it follows the teacher's probabilities",
    "on_policy": "On-policy distillation: the teacher corrects what the student writes",
}
_OWN_BASE = (
    "The base of this adapter was made with Distill Studio (layers dropped, or trained before) and"
    " is not published: on the model that it comes from the adapter loads too, and answers wrongly."
    " Take the whole model instead."
)
_LIMITS = (
    "It copies its teachers' errors and biases along with their answers.",
    "It learned from {rows} alone. What they do not cover (other tasks, other languages, knowledge,"
    " when to refuse) it may do worse than the model it comes from: distillation narrows, and a"
    " small student loses breadth first. The evaluation above says nothing of the rest.",
    "The terms of the teachers and of the base model apply.",
    "Measure it on your own task before you rely on it.",
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
    has_own_base: bool = Field(
        default=False, description="That was pruned or trained here: an adapter fits no other."
    )
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
    curve: Curve = Field(default_factory=Curve, description="Of its training.")
    notes: tuple[str, ...] = Field(default=(), description="What people want said of the run.")


def model_card(run: Run, kind: PackageKind, facts: ModelFacts | None = None) -> str:
    """A model card: what it was trained from and on, how, and with what result."""
    facts = facts or ModelFacts()
    parts = [
        f"# {plain(run.name)}",
        "A student trained with Distill Studio; every setting is in `run.json`.",
        *[f"**{plain(notice)}**" for notice in facts.notices],
        card_table(("", ""), list(_summary(run, facts).items())),
        "## How to use it",
        _OWN_BASE if kind == "adapter" and facts.has_own_base else "",
        f"```python\n{_use(kind, facts.repo or 'this folder')}\n```",
        *_way(facts.trainings),
        *_data(facts),
        "## Training",
        card_table(("setting", "value"), _settings(run)),
        *_curves(run, facts.curve),
        "## Evaluation",
        _evaluation(facts.measured),
        *_said(facts.notes),
        "## Limits and terms",
        _limits(facts),
    ]
    body = "\n\n".join(part.strip() for part in parts if part)
    return f"{front_matter(_front(run, kind, facts))}\n{body}\n"


def card_files(run: Run, facts: ModelFacts) -> dict[str, bytes]:
    """What lies beside the card and is shown in it, by name."""
    picture = curve_picture(facts.curve, run.name, kl_words(run.config).label)
    return {PICTURE: picture.encode()} if picture else {}


def _front(run: Run, kind: PackageKind, facts: ModelFacts) -> dict[str, Any]:
    is_adapter = kind == "adapter"
    base = "" if is_adapter and facts.has_own_base else facts.base_model
    return {
        **licence_fields(facts.licence, facts.licence_name or TERMS, facts.licence_link),
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "base_model": base,
        "base_model_relation": ("adapter" if is_adapter else "finetune") if base else "",
        "datasets": list(facts.datasets),
        "tags": ["distill-studio", "distillation", "trl", run.method.replace("_", "-")],
    }


def _summary(run: Run, facts: ModelFacts) -> dict[str, Any]:
    student, data = run.config.get("student", {}), run.config.get("data", {})
    base = facts.trainings[-1].base if facts.trainings else student.get("base_id", "")
    found = {
        "Method": _METHODS.get(run.method, run.method.upper()),
        "Base": short_id(base),
        "Kept of the base": pruning_text(student) or "all",
        "Snapshot": f"{data.get('name', '')} ({str(data.get('content_hash', ''))[:12]})",
    }
    if run.method in ("logit", "on_policy"):
        followed = [run.config.get("teacher") or {}, *(run.config.get("more_teachers") or ())]
        found["Teacher"] = ", ".join(_teacher_name(teacher) for teacher in followed)
    found["Updates"] = run.metrics.get("steps", "")
    if (covered := run.metrics.get("covered")) is not None:
        found["Of the teacher's probability in the kept ids"] = f"{100 * covered:.1f} %"
    for key, label in (
        ("loss", "Held-out loss"),
        ("margin", "Held-out margin"),
        ("accuracy", "Held-out accuracy"),
        ("kl", f"Held-out {kl_words(run.config).label}"),
    ):
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
    rows = [list(row) for row in setting_rows(run.config, has_summary=True)]
    if seconds := run.metrics.get("seconds"):
        rows.append(["Seconds of training", f"{seconds:,.0f}"])
    return rows


def _curves(run: Run, curve: Curve) -> list[str]:
    columns, rows = curve_rows(curve, kl_words(run.config).label)
    if not rows:
        return []
    return [
        "### Curves",
        f"![Training and held-out figures by update]({PICTURE})",
        card_table(columns, rows),
        f"{plain(kl_words(run.config).about)}" if curve.held_kl else "",
    ]


def _said(notes: Sequence[str]) -> list[str]:
    return ["## Notes", "\n".join(f"- {plain(one)}" for one in notes)] if notes else []


def _limits(facts: ModelFacts) -> str:
    rows = sum(one.rows for one in facts.trainings)
    learned = f"{rows:,} rows of its snapshots" if rows else "the rows of its snapshot"
    return "\n".join(f"- {line.format(rows=learned)}" for line in _LIMITS)


def _evaluation(measured: Mapping[str, str]) -> str:
    if not measured:
        return "Not measured on any suite or benchmark."
    return card_table(("measured", "figure"), list(measured.items()))


def _figure(value: Any) -> str:  # noqa: ANN401
    return f"{value:.4f}" if isinstance(value, int | float) else "not measured"
