"""The way back as safe HTML: what was lost, in groups, with examples; quality by round."""

from collections.abc import Sequence

from distill_studio.core.records.feedback import Feedback, FeedbackKind
from distill_studio.services.feedback import FeedbackView, LostPrompt, Proposal, RoundScore
from distill_studio.ui.html import esc, note, number, table

_LONGEST = 1200  # characters of a text shown
_MOST_GROUPS = 20
_WIDTH, _HEIGHT, _LEFT, _FOOT = 560, 180, 44, 26


def lost_html(view: FeedbackView) -> str:
    """How the student did, and its losses by group."""
    found = view.tally
    who, whom = esc(view.student.label), esc(view.teacher.label)
    if not found.compared:
        return note("No prompt of the practice half was answered by both of them yet.")
    head = (
        f"<p><b>{who}</b> did worse than {whom} on <b>{number(len(found.losses))}</b> of"
        f" {number(found.compared)} prompts of the practice half, better on"
        f" {number(found.won)}.</p>"
    )
    if not found.losses:
        return head + note("Nothing was lost: there is nothing to send back.", "good")
    rows = [
        [esc(group.name), number(len(group.numbers)), f"{100 * group.gap:.0f} points"]
        for group in view.groups[:_MOST_GROUPS]
    ]
    more = len(view.groups) - _MOST_GROUPS
    text = head + table(["Group", "Lost", "Behind the teacher by"], rows)
    if more > 0:
        text += note(f"And {more} smaller groups.")
    return text + "".join(note(_step(step)) for step in view.steps)


def means_html(view: FeedbackView) -> str:
    """What sending prompts back does to the suite's results, before it is done; or since when."""
    halves = f"the {number(view.exam)} of the exam half"
    if view.marked is not None and view.marked.sent_at is not None:
        return note(
            f"Since {view.marked.sent_at:%d %b %Y %H:%M} UTC (by {view.marked.user}) all results of"
            f" {view.suite} count {halves} only."
        )
    if not view.tally.losses:
        return ""
    return note(
        f"Before you send: from the first prompt on, all results of {view.suite}, earlier ones too,"
        f" count {halves} only, and not these {number(view.practice)} any more, since models may"
        " have learnt from them. It can be undone as long as nothing has used what was sent: no"
        " vote, no answer, no snapshot, no training.",
        "warn",
    )


def undo_label(view: FeedbackView) -> str:
    """Which step the button takes back."""
    if view.last is None:
        return "Undo"
    what = "preferences" if view.last.kind is FeedbackKind.PREFERENCES else "new prompts"
    return f"Undo: {what} of {view.last.created_at:%d %b %H:%M}"


def examples_html(lost: Sequence[LostPrompt], teacher: str, student: str) -> str:
    """Lost prompts with both answers, folded."""
    parts = []
    for one in lost:
        rows = [
            [
                esc(name),
                f"<div class='ds-txt'>{esc(answer.answer[:_LONGEST])}</div>",
                esc(answer.reason) + (" (cut off)" if answer.is_cut else ""),
            ]
            for name, answer in ((teacher, one.teacher), (student, one.student))
        ]
        prompt = one.item.messages[-1].content
        parts.append(
            f"<details class='ev-topic'><summary>{esc(prompt[:120])}</summary>"
            f"<div class='ds-txt'>{esc(prompt[:_LONGEST])}</div>"
            f"{table(['Model', 'Answer', 'Why'], rows)}</details>"
        )
    return "".join(parts)


def proposal_html(found: Proposal) -> str:
    """What to train next, and why."""
    return note(" ".join(found.reasons))


def rounds_html(found: Sequence[RoundScore]) -> str:
    """Quality by round: a drawing, and the same as a table."""
    if not any(one.number for one in found):
        return ""
    rows = [
        [
            "base" if not one.number else f"round {one.number}",
            esc(one.card.label),
            f"{100 * one.score:.1f}%",
            "" if one.low is None or one.high is None
            else f"{100 * one.low:.1f} to {100 * one.high:.1f}%",
        ]
        for one in found
    ]  # fmt: skip
    return (
        "<h4>Quality by round</h4>"
        + _drawing(found)
        + table(["Round", "Model", "Score", "95% interval"], rows)
    )


def _drawing(found: Sequence[RoundScore]) -> str:
    """Scores over rounds with their intervals, as SVG."""
    last = max(one.number for one in found)
    top = max(0.01, *(one.high or one.score for one in found))

    def across(one: RoundScore) -> float:
        return _LEFT + 20 + (_WIDTH - _LEFT - 40) * (one.number / last if last else 0.5)

    def up(score: float) -> float:
        return 10 + (_HEIGHT - _FOOT - 10) * (1 - max(0.0, score) / top)

    marks = []
    for one in found:
        x = across(one)
        if one.low is not None and one.high is not None:
            marks.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{up(one.low):.1f}" y2="{up(one.high):.1f}"'
                ' stroke="currentColor" stroke-opacity=".4" stroke-width="3"/>'
            )
        marks.append(
            f'<circle cx="{x:.1f}" cy="{up(one.score):.1f}" r="5" fill="var(--color-accent)">'
            f"<title>{esc(one.card.label)}: {100 * one.score:.1f}%</title></circle>"
        )
    names = "".join(
        f'<text x="{_LEFT + 20 + (_WIDTH - _LEFT - 40) * (n / last if last else 0.5):.1f}"'
        f' y="{_HEIGHT - 6}" text-anchor="middle">{n or "base"}</text>'
        for n in sorted({one.number for one in found})
    )
    levels = "".join(
        f'<text x="{_LEFT - 6}" y="{up(level) + 4:.1f}" text-anchor="end">{100 * level:.0f}%</text>'
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{up(level):.1f}" y2="{up(level):.1f}"'
        ' stroke="currentColor" stroke-opacity=".15"/>'
        for level in (0.0, top / 2, top)
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="ev-rounds" role="img"'
        f' aria-label="Score by round of training">{levels}{names}{"".join(marks)}</svg>'
    )


def _step(step: Feedback) -> str:
    count = number(len(step.numbers))
    when = f"{step.created_at:%d %b %H:%M}"
    if step.kind is FeedbackKind.PREFERENCES:
        said = f"{when}: {count} lost prompts became preferences (by {step.user})."
    else:
        said = f"{when}: new prompts were asked for near {count} lost ones (by {step.user})."
    if step.undone_at is not None:
        return f"{said} Undone {step.undone_at:%d %b %H:%M} by {step.undone_by}."
    return said if step.sent_at is not None else f"{said} Nothing was sent back."
