"""What the panel of plans shows: the stages so far, and a plan's table. Pure."""

from collections.abc import Sequence
from typing import Any

from distill_studio.core.records import JobState, PlanKind
from distill_studio.distill.pruning import pruning_text
from distill_studio.distill.spec import TrainSpec
from distill_studio.services.plans import PlanRow, PlanView
from distill_studio.ui.html import chip, empty_state, esc, note, number

_STATES = {
    JobState.QUEUED: ("waiting", "info"),
    JobState.RUNNING: ("running", "info"),
    JobState.DONE: ("done", "good"),
    JobState.FAILED: ("stands still", "bad"),
    JobState.CANCELLED: ("stopped", "warn"),
}
_ROW_STATES = {
    "waiting": "info",
    "queued": "info",
    "running": "info",
    "done": "good",
    "stopped": "warn",
    "failed": "bad",
    "lost": "bad",
}
_FIGURES = (
    ("loss_after", "Held-out loss"),
    ("ce_after", "Cross-entropy"),
    ("kl_after", ""),  # as the plan calls it
    ("margin_after", "Margin"),
    ("logp_margin_after", "Log-prob. margin"),
)


def stages_html(stages: Sequence[TrainSpec]) -> str:
    """The stages that were added so far."""
    if not stages:
        return note(
            "No stages yet. Set the form above as the first stage wants it, press Add as a stage,"
            " change the form, and add the next. Each goes on from the student of the one before."
        )
    items = "".join(
        f"<li><strong>{esc(stage.method.upper().replace('_', '-'))}</strong>"
        f" on {esc(stage.snapshot)}, {esc(_begins(stage, index))}{esc(_amount(stage))}</li>"
        for index, stage in enumerate(stages)
    )
    return f'<ol class="ds-plan-stages">{items}</ol>'


def _begins(stage: TrainSpec, index: int) -> str:
    if index:
        return f"going on from stage {index}"
    kept = pruning_text(stage.model_dump())
    return f"from {stage.student}{f' with {kept}' if kept else ''}"


def _amount(stage: TrainSpec) -> str:
    amount = f", {stage.max_steps} updates" if stage.max_steps else f", preset {stage.preset}"
    return amount + (f" at {stage.learning_rate:g}" if stage.learning_rate else "")


def plan_html(view: PlanView) -> str:
    """A plan: its state and a table of its runs."""
    label, kind = _STATES.get(view.state, (view.state.value, "info"))
    done = sum(row.state == "done" for row in view.rows)
    what = "stages" if view.plan.kind is PlanKind.STAGES else "runs"
    head = (
        f'<div class="ds-run-top"><h3 class="ds-h3">{esc(view.plan.name)}</h3>'
        f"{chip(label, kind)}{chip(f'{done} of {len(view.rows)} {what}')}</div>"
    )
    error = note(view.error, "bad") if view.error else ""
    about = ""
    if view.plan.kind is PlanKind.GRID:
        about = note(
            f"Compared by {view.measure.label}."
            if view.measure
            else "No held-out figure can be compared across these settings."
        )
    first = view.measure.metric if view.measure else ""
    return head + error + about + _table(view.rows, first, view.kl_label)


def _table(rows: Sequence[PlanRow], first: str, kl_label: str) -> str:
    """Rows with the figure they are compared by before the others."""
    settings = list(rows[0].settings)
    known = sorted(_FIGURES, key=lambda figure: figure[0] != first)
    named = [(key, label or kl_label[:1].upper() + kl_label[1:]) for key, label in known]
    figures = [(k, label) for k, label in named if any(k in row.metrics for row in rows)]
    columns = ["Run", "State", *(_words(s) for s in settings)]
    columns += [*(label for _, label in figures), "Updates"]
    head = "".join(f'<th scope="col">{esc(column)}</th>' for column in columns)
    body = "".join(_row(row, settings, [key for key, _ in figures]) for row in rows)
    return (
        '<div class="ds-table-wrap"><table class="ds-table ds-runs">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: PlanRow, settings: Sequence[str], figures: Sequence[str]) -> str:
    mark = chip("best", "good") if row.is_best else ""
    error = f'<span class="ds-note bad">{esc(row.error, 160)}</span>' if row.error else ""
    cells = [
        esc(row.run),
        chip(row.state, _ROW_STATES.get(row.state, "info")) + mark + error,
        *(_value(row.settings[name]) for name in settings),
        *(_figure(row.metrics.get(name)) for name in figures),
        number(row.metrics.get("steps", row.metrics.get("step"))),
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _value(value: Any) -> str:  # noqa: ANN401
    return f"{value:g}" if isinstance(value, float) else esc(str(value))


def _figure(value: Any) -> str:  # noqa: ANN401
    return f"{value:.3f}" if isinstance(value, int | float) else "–"


def _words(field: str) -> str:
    return field.replace("_", " ").capitalize()


def no_plans() -> str:
    """Before there is any."""
    return empty_state("No plans yet", "Add stages, or give several values for a setting.")
