"""Public benchmarks as safe HTML: models by tasks, and what a run rests on."""

from collections.abc import Sequence

from distill_studio.core.records.benchmark import BenchmarkRun, BenchmarkScore, BenchmarkSettings
from distill_studio.evaluate.harness.scoreboard import Against, Cell, Scoreboard
from distill_studio.evaluate.wording import percent
from distill_studio.ui.html import chip, counted, duration, esc, note, number, table

_WORDS = {
    "better": "better than",
    "worse": "worse than",
    "overlap": "no difference shown from",
    "unknown": "no interval to compare with",
    "other": "asked otherwise than",
}
_KINDS = {"better": "good", "worse": "bad"}
_HASH = 12  # digits shown


def board_html(found: Scoreboard) -> str:
    """A row per model, a column per task."""
    if not found.rows:
        return note("Choose models and tasks and start: the results stay here.")
    rows = [
        [
            f"{esc(row.card.label)} {chip(row.card.role.value if row.card.role else '')}",
            *(_cell(row.cells.get(task)) for task in found.tasks),
        ]
        for row in found.rows
    ]
    return table(["Model", *found.tasks], rows) + note(_rests_on(found))


def runs_html(found: Sequence[tuple[BenchmarkRun, Sequence[BenchmarkScore]]]) -> str:
    """What lies behind the table: every figure of each run, versions and hashes."""
    return "".join(
        f"<details class='ev-topic'><summary>{esc(run.model.label)}: "
        f"{esc(', '.join(run.tasks))}, {run.created_at:%d %b %H:%M} UTC</summary>"
        f"{_figures(scores)}{note(_versions(run))}</details>"
        for run, scores in found
    )


def settings_text(settings: BenchmarkSettings) -> str:
    """A way of asking in a few words."""
    parts = [
        "all questions" if not settings.limit else f"first {settings.limit:,} (smoke)",
        "examples as the task has them"
        if settings.shots is None
        else counted(settings.shots, "example"),
        "chat template" if settings.chat_template else "plain text",
        f"seed {settings.seed}",
    ]
    return ", ".join(parts)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    score, estimate = cell.score, cell.estimate
    error = "" if score.stderr is None else f" ± {100 * score.stderr:.1f}"
    lines = [f"<span class='ev-when'>{percent(score.value)}</span>{esc(error)}"]
    of = f" of {number(score.total)}" if cell.is_smoke else ""
    asked = f"{esc(score.metric)}, <span class='ev-when'>n = {number(score.n)}{of}</span>"
    lines.append(
        f"<span class='ds-note'>{asked}</span>"
        + (f" {chip('smoke', 'warn')}" if cell.is_smoke else "")
    )
    if estimate.low is None:
        lines.append(_noted(estimate.why))
    lines += [_against(one) for one in (cell.teacher, cell.base) if one]
    return "<br>".join(lines)


def _against(found: Against) -> str:
    said = f"{_WORDS[found.verdict]} {found.label}"
    kind = _KINDS.get(found.verdict)
    return chip(said, kind) if kind else _noted(said)


def _figures(scores: Sequence[BenchmarkScore]) -> str:
    rows = [
        [
            esc(one.task),
            esc(one.metric) + ("" if one.filter == "none" else f" ({esc(one.filter)})"),
            f"{one.value:.4f}",
            "–" if one.stderr is None else f"{one.stderr:.4f}",
            number(one.n) + ("" if one.n >= one.total else f" of {number(one.total)}"),
            number(one.shots),
            esc(one.version),
            f"<code>{esc(one.fingerprint[:_HASH])}</code>",
        ]
        for one in scores
    ]
    columns = [
        "Task", "Metric", "Figure", "Standard error", "n", "Examples", "Version", "Questions' hash",
    ]  # fmt: skip
    return table(columns, rows)


def _versions(run: BenchmarkRun) -> str:
    facts = run.facts
    packages = ", ".join(f"{name} {v}" for name, v in facts.get("packages", {}).items() if v)
    model = facts.get("model", {})
    said = [
        f"Asked: {settings_text(run.settings)}",
        packages,
        f"weights {model['sha256'][:_HASH]}" if model.get("sha256") else "",
        f"{model['dtype']} on {facts.get('device')}" if model.get("dtype") else "",
        f"took {duration(facts['seconds'])}" if "seconds" in facts else "",
        f"run {run.id}",
    ]
    return "; ".join(part for part in said if part) + "."


def _noted(text: str) -> str:
    return f"<span class='ds-note'>{esc(text)}</span>"


def _rests_on(found: Scoreboard) -> str:
    said = [
        f"Asked alike: {settings_text(found.settings)}.",
        "± is the standard error. A difference is called one only where the two 95% intervals do"
        " not overlap.",
    ]
    if any(cell.is_smoke for row in found.rows for cell in row.cells.values()):
        said.append("Smoke: only the first questions were asked; no result to report.")
    return " ".join(said)
