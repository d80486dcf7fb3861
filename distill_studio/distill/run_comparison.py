"""Several runs side by side: their curves, the settings that differ, the final figures.

Torch-free. Start at `compared`.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from distill_studio.core.records import Run
from distill_studio.core.records.base import Record
from distill_studio.distill.curve import Curve
from distill_studio.distill.measures import kl_label_of, kl_words, unlike
from distill_studio.distill.settings_text import SETTINGS, label_of, settings_of, value_text

LEAST, MOST = 2, 6
# Final figure -> its words, and the figure of an evaluation whose rules it follows.
_FIGURES: dict[str, tuple[str, str]] = {
    "loss_before": ("Held-out loss before", "loss"),
    "loss_after": ("Held-out loss after", "loss"),
    "ce_after": ("Held-out cross-entropy after", "ce"),
    "kl_before": ("Held-out {} before", "kl"),
    "kl_after": ("Held-out {} after", "kl"),
    "features_after": ("Distance of hidden states after", "features"),
    "margin_after": ("Held-out margin after", "margin"),
    "accuracy_after": ("Pairs ranked right after", "accuracy"),
    "logp_margin_after": ("Held-out log-probability, chosen less rejected, after", "logp_margin"),
    "covered": ("Of the teacher's probability in the kept ids", ""),
    "train_loss": ("Training loss at the end", "loss"),
    "steps": ("Updates", ""),
    "seconds": ("Seconds of training", ""),
    "tokens_per_s": ("Tokens per second", ""),
    "memory_gib": ("Memory, GiB", ""),
}


class ComparedRun(Record):
    """One of the runs."""

    name: str = Field(description="Of the run.")
    method: str = Field(description="sft, dpo, ...")
    state: str = Field(description="Where it stands.")
    kl_label: str = Field(default="", description="What its KL is called; '' = it has none.")
    kl_about: str = Field(default="", description="What its KL is, in a sentence.")
    curve: Curve = Field(description="As `distill_curve` gives it.")


class ComparedRow(Record):
    """A setting or a figure of all the runs."""

    key: str = Field(description="Path in run.json, or name among the final figures.")
    label: str = Field(description="In words.")
    values: list[str | float | None] = Field(
        description="One for each run: a setting in words, a figure as a number; None = none."
    )
    unlike: list[str] = Field(
        default_factory=list,
        description="Settings that differ, so that a figure cannot be compared; [] = it can.",
    )


class RunComparison(Record):
    """Runs side by side."""

    runs: list[ComparedRun] = Field(description="In the order in which they were named.")
    settings: list[ComparedRow] = Field(description="Only those that differ.")
    figures: list[ComparedRow] = Field(description="Final figures that any of them has.")
    unlike: dict[str, list[str]] = Field(
        description="loss, ce and kl -> settings that differ, so that their curves cannot be"
        " compared; [] = they can."
    )


def compared(runs: Sequence[Run], curves: Sequence[Curve]) -> RunComparison:
    """The runs side by side.

    Args:
        runs: 2 to 6.
        curves: Of each.
    """
    return RunComparison(
        runs=[_run(run, curve) for run, curve in zip(runs, curves, strict=True)],
        settings=_settings(runs),
        figures=_figures(runs),
        unlike={figure: _unlike(figure, runs) for figure in ("loss", "ce", "kl")},
    )


def _run(run: Run, curve: Curve) -> ComparedRun:
    words = kl_words(run.config) if curve.kl or curve.held_kl else None
    return ComparedRun(
        name=run.name,
        method=run.method,
        state=run.state.value,
        kl_label=words.label if words else "",
        kl_about=words.about if words else "",
        curve=curve,
    )


def _settings(runs: Sequence[Run]) -> list[ComparedRow]:
    found = [settings_of(run.config) for run in runs]
    methods = {run.method for run in runs}
    method = methods.pop() if len(methods) == 1 else ""
    rows = []
    for path in SETTINGS:
        values = [one.get(path) for one in found]
        if len({repr(value) for value in values}) == 1:
            continue
        said: list[str | float | None] = [
            None if value is None else value_text(path, value) for value in values
        ]
        rows.append(ComparedRow(key=path, label=label_of(path, method), values=said))
    return rows


def _figures(runs: Sequence[Run]) -> list[ComparedRow]:
    rows = []
    for key, (label, figure) in _FIGURES.items():
        values = [_number(run.metrics.get(key)) for run in runs]
        if all(value is None for value in values):
            continue
        having = [run for run, value in zip(runs, values, strict=True) if value is not None]
        if figure == "kl":
            label = label.format(kl_label_of([run.config for run in having]))
        rows.append(
            ComparedRow(key=key, label=label, values=list(values), unlike=_unlike(figure, having))
        )
    return rows


def _unlike(figure: str, runs: Sequence[Run]) -> list[str]:
    having = runs
    if figure == "kl":  # a run without a teacher has no such curve
        having = [run for run in runs if run.config.get("divergence")]
    return unlike(figure, [run.config for run in having]) if len(having) > 1 else []


def _number(value: Any) -> float | None:  # noqa: ANN401
    return float(value) if isinstance(value, int | float) else None
