"""Parts of a run's page: answers at an evaluation, the worker's notes, people's, settings. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from distill_studio.core.records import Run, RunNote
from distill_studio.distill.curve import standing
from distill_studio.distill.settings_text import setting_rows
from distill_studio.ui.html import chip, duration, esc, note, table

NEWEST = "newest"  # value of the choice of an evaluation
_LONGEST = 2000  # characters of an answer
_FIGURE = re.compile(r"\d[\d.,]*")


def sample_steps(events: Sequence[Any]) -> list[int]:
    """Updates after which prompts were answered."""
    return sorted({e.step for e in standing(events) if e.kind == "sample"})


def step_choices(steps: Sequence[int]) -> list[tuple[str, str]]:
    """(label, value) of the evaluations, the newest first."""
    named = [(f"update {step}" if step else "before training", str(step)) for step in steps]
    return [("the newest", NEWEST), *reversed(named)]


def samples_html(events: Sequence[Any], wanted: str) -> str:
    """What the student answered to each held-out prompt, before and at one evaluation.

    Args:
        events: Of the run, oldest first.
        wanted: The evaluation's update, or `NEWEST`.
    """
    samples = [e for e in standing(events) if e.kind == "sample"]
    if not samples:
        return ""
    answers = {(s.prompt, s.step): s.answer for s in samples}
    steps = sorted({s.step for s in samples})
    step = int(wanted) if wanted.isdigit() and int(wanted) in steps else steps[-1]
    shown = [steps[0], step] if step != steps[0] else [step]
    turns = []
    for prompt in dict.fromkeys(s.prompt for s in samples):
        said = "".join(
            _turn("before" if at == 0 else f"update {at}", answers[prompt, at])
            for at in shown
            if (prompt, at) in answers
        )
        turns.append(f'<div class="ds-run-samples">{_turn("prompt", prompt)}{said}</div>')
    return f'<div class="ds-run-prompts">{"".join(turns)}</div>'


def _turn(who: str, text: str) -> str:
    return (
        f'<div class="ds-run-turn"><span>{esc(who)}</span>'
        f'<div class="ds-txt">{esc(text, _LONGEST)}</div></div>'
    )


def worker_notes(events: Sequence[Any]) -> list[tuple[float, str]]:
    """(seconds since the start, message) of what the worker noted, oldest first.

    Of messages that differ in figures alone ("8 of 24", "16 of 24") the last one stands for all.
    """
    newest: dict[str, tuple[float, str]] = {}
    for event in events:
        if event.kind == "note":
            shape = _FIGURE.sub("#", event.message)
            newest.pop(shape, None)
            newest[shape] = (event.at - events[0].at, event.message)
    return list(newest.values())


def worker_notes_html(events: Sequence[Any]) -> str:
    """The worker's notes with their times."""
    rows = [[esc(duration(max(at, 0.0))), esc(said)] for at, said in worker_notes(events)]
    return table(("After", "Note"), rows, empty="It has noted nothing yet.")


def settings_html(run: Run) -> str:
    """Every setting of a run."""
    rows = [[esc(label), esc(value)] for label, value in setting_rows(run.config)]
    return table(("Setting", "Value"), rows)


def notes_html(notes: Sequence[RunNote], user: str, *, is_owner: bool) -> str:
    """What people noted of a run, oldest first; with a way to take one's own away."""
    if not notes:
        return note("Nobody has noted anything of this run yet.")
    items = "".join(_note(one, may_forget=is_owner or one.user == user) for one in notes)
    return f'<ul class="ds-run-notes">{items}</ul>'


def _note(made: RunNote, *, may_forget: bool) -> str:
    when = f"{made.made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    mark = chip("in the card", "info") if made.in_card else ""
    button = (
        f'<button type="button" class="ds-link" data-note="{esc(made.id)}">Take away</button>'
        if may_forget
        else ""
    )
    return (
        f'<li><div class="ds-txt">{esc(made.text)}</div>'
        f'<p class="ds-note"><b>{esc(made.user)}</b> {esc(when)} {mark} {button}</p></li>'
    )


def left_out_text(events: Sequence[Any]) -> str:
    """A sentence about rows that are not learned; '' where all are."""
    started = next((e for e in reversed(events) if e.kind == "started"), None)
    if started is None or not started.left_out:
        return ""
    rows = "1 row is" if started.left_out == 1 else f"{started.left_out:,} rows are"
    return (
        f"{rows} left out: nothing in them to learn, too long, or refused by the chat template"
        " (the worker's notes say which)."
    )
