"""The arena as safe HTML: models with their votes and win rates, and what judges are worth."""

from collections.abc import Sequence

from distill_studio.agreement.order_bias import OrderLean
from distill_studio.agreement.tables import Between
from distill_studio.services.arena_views import ArenaCandidate, ArenaJudgeStats, ArenaReport
from distill_studio.ui.html import chip, counted, empty_state, esc, note, number, table
from distill_studio.ui.panels.agreement_html import figure_cell, percent_cell
from distill_studio.ui.panels.ranking_html import (
    EXPLAINED,
    SOURCES,
    STRENGTH_HEAD,
    matrix_html,
    sighted_html,
    strength_cells,
)

_VOTERS_NAMED = 8
_HEAD = (*STRENGTH_HEAD, "Win rate", "At equal length", "Votes of people", "Votes of judges")


def arena_html(report: ArenaReport) -> str:
    """Who is ahead, from whose votes, and each against each."""
    left_out = ""
    if report.left_out:
        left_out = note(
            f"Left out: {counted(report.left_out, 'vote')} on what was compared because a student"
            " lost it; such prompts were not drawn at random."
        )
    if not report.rows:
        return _empty(report) + sighted_html(report) + left_out
    rows = [
        [
            *cells,
            percent_cell(row.win_rate),
            percent_cell(row.equal_length)
            if row.equal_length.value is not None
            else f'<span class="ag-none">–<small>{esc(row.equal_length.why)}</small></span>',
            number(row.people_votes),
            number(row.judge_votes),
        ]
        for cells, row in zip(strength_cells(report.rows, report.anchor), report.rows, strict=True)
    ]
    explained = (
        "Win rates: over all others that a model met, with 95% intervals; at equal length, as if"
        " both answers had been equally long."
    )
    return (
        note(_counted(report))
        + sighted_html(report)
        + table(_HEAD, rows)
        + note(f"{EXPLAINED} {explained}")
        + left_out
        + matrix_html(report.rates, [row.model for row in report.rows])
    )


def judges_html(judges: Sequence[ArenaJudgeStats]) -> str:
    """A row per judge, then what its order says."""
    if not judges:
        return note("No judge has voted yet.")
    rows = [
        [
            esc(one.judge) + _relative(one.warning),
            number(one.votes) + (f"<div><small>{one.lost} lost</small></div>" if one.lost else ""),
            percent_cell(one.order.consistent) if one.order else _unknown(),
            _lean(one.order),
            percent_cell(one.with_people.percent) + _common(one.with_people),
            figure_cell(one.with_people.kappa),
            esc(one.advice),
        ]
        for one in judges
    ]
    said = "".join(
        note(f"{one.judge}: {one.order.words}", "warn" if one.order.side else "")
        for one in judges
        if one.order and one.order.n
    )
    head = [
        "Judge", "Votes", "Same in both orders", "Lean", "Agrees with people", "Kappa",
        "What to make of it",
    ]  # fmt: skip
    return table(head, rows) + said


def candidate_html(candidate: ArenaCandidate | None) -> str:
    """What the chosen judge has read, and a warning where it is a relative."""
    if candidate is None:
        return ""
    there = counted(candidate.comparisons, "comparison")
    said = note(
        f"{candidate.judge} has voted on {number(candidate.read)} of {there}."
        " Its votes are its own, never a person's: they rank models; nothing is trained on them."
    )
    return said + (note(candidate.warning, "warn") if candidate.warning else "")


def _counted(report: ArenaReport) -> str:
    names = list(report.voters.items())
    voters = ", ".join(f"{name} ({number(n)})" for name, n in names[:_VOTERS_NAMED])
    more = f" and {len(names) - _VOTERS_NAMED} more" if len(names) > _VOTERS_NAMED else ""
    return (
        f"From {counted(report.n, 'vote')} of {SOURCES[report.sources]} on"
        f" {counted(report.prompts, 'prompt')}{': ' if voters else ''}{voters}{more}."
    )


def _empty(report: ArenaReport) -> str:
    if report.voter or report.people_votes or report.judge_votes or report.sighted_votes:
        return empty_state(
            "No such votes", f"None of {SOURCES[report.sources]} on two different models."
        )
    if report.comparisons:
        return empty_state(
            "No votes yet",
            f"{counted(report.comparisons, 'comparison')} side by side, and nobody has said which"
            " answer is better. Vote under the answers above (blind is fairer), or have a judge"
            " vote below.",
        )
    return empty_state(
        "Nothing to rank yet",
        "Choose two models at the top of this page, write a prompt and run, or compare on several"
        " held-out prompts at once. Then vote: the arena ranks the models by these votes.",
    )


def _lean(order: OrderLean | None) -> str:
    if order is None or not order.n:
        return _unknown()
    if order.side:
        return chip(f"to the {order.side} shown", "bad")
    return chip("none shown", "good" if order.p_value is None or order.n >= 30 else "")


def _relative(warning: str) -> str:
    """A mark with the whole warning as its title; choosing that judge below shows it."""
    return f'<div title="{esc(warning)}">{chip("a relative", "warn")}</div>' if warning else ""


def _common(found: Between) -> str:
    return f"<div><small>of {number(found.n)} in common</small></div>" if found.n else ""


def _unknown() -> str:
    return '<span class="ds-note">–</span>'
