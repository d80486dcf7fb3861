"""What the Distill tab shows: findings, tokens, the list of runs, one run. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distill_studio.core.records import Run, RunState
from distill_studio.distill.curve import Curve, standing
from distill_studio.distill.failures import is_memory_short
from distill_studio.distill.findings import Finding
from distill_studio.distill.measures import kl_words
from distill_studio.distill.presets import passes_of_lighter
from distill_studio.distill.pruning import pruning_text
from distill_studio.distill.token_view import TokenPiece, TokenRow
from distill_studio.ui.html import chip, duration, empty_state, esc, note, number, progress_bar
from distill_studio.ui.panels.loss_plot import loss_plot, spark
from distill_studio.ui.panels.run_parts_html import left_out_text

STATES = {
    RunState.QUEUED: ("waiting", "info"),
    RunState.RUNNING: ("running", "info"),
    RunState.STOPPED: ("stopped", "warn"),
    RunState.DONE: ("done", "good"),
    RunState.FAILED: ("failed", "bad"),
    RunState.LOST: ("lost", "bad"),
}
_MARKS = {"error": ("refused", "bad"), "warning": ("note", "warn"), "info": ("info", "info")}
ACTIVE = (RunState.QUEUED, RunState.RUNNING)
_NONE: Mapping[str, str] = {}
_LONGEST_NOTE = 80  # characters of a note in the list


class _Figure(NamedTuple):
    """A figure of a run's page, what it is called, and what there is to know of it."""

    value: str
    label: str
    about: str = ""


def findings_html(findings: Sequence[Finding]) -> str:
    """Pre-flight findings, what refuses first."""
    order = ["error", "warning", "info"]
    items = []
    for finding in sorted(findings, key=lambda f: order.index(f.level)):
        label, kind = _MARKS[finding.level]
        hint = f' <span class="ds-note">{esc(finding.hint)}</span>' if finding.hint else ""
        items.append(f"<li>{chip(label, kind)}<span>{esc(finding.message)}{hint}</span></li>")
    return f'<ul class="ds-findings">{"".join(items)}</ul>'


def tokens_html(rows: Sequence[TokenRow]) -> str:
    """Tokens, those that are learned marked."""
    parts = []
    for row in rows:
        cut = ", its end is cut off" if row.is_cut else ""
        head = f"{row.tokens} tokens{cut}; {row.learned} learned"
        title = "" if row.title == "row" else f"<strong>{esc(row.title)}</strong> "
        parts.append(f'<p class="ds-note">{title}{esc(head)}</p>')
        parts.append(f'<div class="ds-tokens">{"".join(_token(p) for p in row.pieces)}</div>')
    return "".join(parts) + (
        '<p class="ds-legend"><span class="tok on">learned</span>'
        '<span class="tok">read, not learned</span></p>'
    )


def _token(piece: TokenPiece) -> str:
    text = esc(piece.text).replace("\n", "↵\n").replace("\t", "⇥")
    return f'<span class="tok{" on" if piece.learned else ""}" title="{piece.id}">{text}</span>'


def runs_html(runs: Sequence[Run], selected: str, notes: Mapping[str, str] = _NONE) -> str:
    """The list of runs; a click on one opens it.

    Args:
        runs: Newest first.
        selected: Name of the one that is shown.
        notes: Name of a run -> the newest note of it.
    """
    if not runs:
        return empty_state(
            "No runs yet", "Choose a snapshot and a student above, then press Start training."
        )
    columns = ("Run", "State", "Method", "Snapshot", "Student", "Updates", "Note", "Held-out loss")
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(_run_row(run, run.name == selected, notes.get(run.name, "")) for run in runs)
    return (
        '<div class="ds-table-wrap"><table class="ds-table ds-runs">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _run_row(run: Run, is_selected: bool, noted: str) -> str:
    mark = ' aria-current="true"' if is_selected else ""
    name = f'<button type="button" class="ds-link" data-run="{esc(run.name)}">{esc(run.name)}'
    cells = [
        f"{name}</button>",
        chip(*STATES[run.state]),
        esc(method_mark(run.method)),
        esc(run.config.get("data", {}).get("name", "")),
        esc(student_text(run)),
        number(run.metrics.get("steps", run.metrics.get("step"))),
        esc(noted, _LONGEST_NOTE),
        loss_text(run.metrics),
    ]
    return f"<tr{mark}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def method_mark(method: str) -> str:
    """A method as a mark: ON-POLICY."""
    return method.upper().replace("_", "-")


def student_text(run: Run) -> str:
    """The student in a few words."""
    student = run.config.get("student", {})
    return ", ".join(filter(None, (student.get("base_id"), pruning_text(student))))


def loss_text(metrics: dict[str, Any]) -> str:
    """Held-out loss before and after."""
    before, after = metrics.get("loss_before"), metrics.get("loss_after")
    if before is None:
        return "–"
    if after is None:
        return f"{before:.3f}"
    change = 100 * (after / before - 1) if before else 0.0
    sign = "−" if change < 0 else "+"
    return f"{before:.3f} → {after:.3f} ({sign}{abs(change):.1f} %)"


def wants_lighter(run: Run) -> bool:
    """True when memory may have ended a run whose batch can be made smaller."""
    is_short = run.state is RunState.FAILED and is_memory_short(run.error)
    batch = int(run.config.get("batch_size", 1))
    return (is_short or run.state is RunState.LOST) and passes_of_lighter(run.method, batch) > 0


def run_html(run: Run, curve: Curve, events: Sequence[Any], elsewhere: str = "") -> str:
    """One run: head, progress, figures, curves.

    Args:
        run: Of the store.
        curve: Of its events.
        events: Oldest first.
        elsewhere: HTML of how it stands on another machine; '' for one that trains here.
    """
    held = standing(events)
    steps = [e for e in held if e.kind == "step"]
    parts = [_head(run, events)]
    if run.state in ACTIVE:
        parts.append(progress_bar(steps[-1].step if steps else 0, curve.total, run.name))
        parts.append(note(_now(run, events)) if events or not elsewhere else "")
    parts.append(elsewhere)
    if run.error:
        parts.append(note(run.error, "bad"))
    if left_out := left_out_text(events):
        parts.append(note(left_out, "warn"))
    parts.append(_figures(run, held, curve))
    parts.append(loss_plot(curve))
    parts.append(_parts_of_the_loss(run, curve))
    parts.append(_side_plots(curve))
    return "".join(parts)


def _head(run: Run, events: Sequence[Any]) -> str:
    started = next((e for e in reversed(events) if e.kind == "started"), None)
    marks = [chip(*STATES[run.state]), chip(method_mark(run.method))]
    lora = run.config.get("lora")
    marks.append(chip(f"LoRA r={lora['r']}" if lora else "full weights"))
    facts = [student_text(run), f"on {run.config.get('data', {}).get('name', '')}"]
    if started:
        facts.append(f"{started.train_rows} rows to learn, {started.validation_rows} held out")
        facts.append(f"{started.device} in {started.dtype}")
        share = 100 * started.trainable / max(started.parameters, 1)
        facts.append(f"{started.parameters / 1e6:.1f} M weights, {share:.1f} % trained")
    return (
        f'<div class="ds-run-top"><h3 class="ds-h3">{esc(run.name)}</h3>{"".join(marks)}</div>'
        f"{note(' · '.join(facts))}"
    )


def _now(run: Run, events: Sequence[Any]) -> str:
    if run.state is RunState.QUEUED:
        return "Waiting for its turn: one training or embedding runs at a time."
    last = events[-1] if events else None
    if last is None:
        return "Starting the worker."
    if last.kind == "note":
        return str(last.message)
    if last.kind == "started":
        return "Measuring the held-out loss before training."
    return ""


def _figures(run: Run, held: Sequence[Any], curve: Curve) -> str:
    steps = [e for e in held if e.kind == "step"]
    figures: list[_Figure] = []
    if steps:
        figures.append(_Figure(f"{steps[-1].step} of {curve.total}", "updates"))
    figures += _held_out_figures([e for e in held if e.kind == "eval"], run)
    covered = [e.covered for e in held if e.kind == "note" and e.covered is not None]
    if covered:
        about = "Mean over all tokens; the rest of the teacher's probability is one bucket."
        figures.append(_Figure(f"{100 * covered[-1]:.1f} %", "of the teacher stored", about))
    if steps:
        recent = sorted(e.seconds for e in steps[-20:])
        middle = recent[len(recent) // 2]
        figures.append(_Figure(f"{middle:.1f} s", "per update"))
        figures.append(_Figure(number(steps[-1].tokens_per_s), "tokens/s"))
        figures.append(_Figure(f"{steps[-1].memory_gib:.1f} GiB", "memory"))
        if steps[-1].answer_tokens is not None:
            figures.append(_Figure(f"{steps[-1].answer_tokens:.0f} tokens", "its own answers"))
        if run.state is RunState.RUNNING and curve.total:
            left = middle * (curve.total - steps[-1].step)
            figures.append(_Figure(duration(left), "to go, about"))
    boxes = [
        f'<div class="ds-run-figure"{_title(about)}><span>{esc(value)}</span>{esc(label)}</div>'
        for value, label, about in figures
    ]
    return f'<div class="ds-run-figures">{"".join(boxes)}</div>'


def _title(about: str) -> str:
    return f' title="{esc(about)}"' if about else ""


def _held_out_figures(evals: Sequence[Any], run: Run) -> list[_Figure]:
    if not evals:
        return []
    first, last = evals[0], evals[-1]
    when = f"at update {last.step}" if last.step else "before training"
    figures = [_Figure(f"{last.loss:.3f}", f"held-out loss {when}")]
    if len(evals) > 1 and first.step == 0 and first.loss:
        change = 100 * (last.loss / first.loss - 1)
        figures.append(_Figure(_signed(change, 1) + " %", f"since {first.loss:.3f} before"))
    if last.kl is not None:
        words = kl_words(run.config)
        figures.append(_Figure(f"{last.kl:.3f}", words.label, words.about))
    if last.ce is not None:
        figures.append(_Figure(f"{last.ce:.3f}", "cross-entropy"))
    if last.features is not None:
        figures.append(_Figure(f"{last.features:.3f}", "distance of hidden states"))
    if last.margin is not None:
        figures.append(_Figure(_signed(last.margin, 3), "held-out margin"))
    if last.accuracy is not None:
        figures.append(_Figure(f"{100 * last.accuracy:.0f} %", "pairs ranked right"))
    return figures


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _parts_of_the_loss(run: Run, curve: Curve) -> str:
    """Logit distillation: what the loss is made of, each in a plot of its own scale."""
    if not curve.kl and not curve.held_kl:
        return ""
    words = kl_words(run.config)
    title = f"{words.label[:1].upper()}{words.label[1:]}, times T²"
    parts = (
        (title, curve.kl, curve.held_kl),
        ("Cross-entropy with the answers", curve.ce, curve.held_ce),
        ("Distance of hidden states to the teacher's", curve.features, curve.held_features),
    )
    plots = [
        f"<div><h4>{esc(title)}</h4>"
        f"{loss_plot(Curve(total=curve.total, train=train, validation=held))}</div>"
        for title, train, held in parts
        if train or held
    ]
    return f'<div class="ds-loss-parts">{"".join(plots)}</div>{note(words.about)}'


def _side_plots(curve: Curve) -> str:
    plots = [
        ("Learning rate", curve.learning_rate, "{:.2g}"),
        ("Gradient norm", curve.grad_norm, "{:.2f}"),
        ("Held-out margin", curve.margin, "{:+.3f}"),
    ]
    parts = []
    for label, points, form in plots:
        if len(points) > 1:
            value = form.format(points[-1].value)
            parts.append(
                f"<div>{spark(points, label)}<span>{esc(label)} <b>{esc(value)}</b></span></div>"
            )
    return f'<div class="ds-sparks">{"".join(parts)}</div>' if parts else ""
