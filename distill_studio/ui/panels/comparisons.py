"""What was compared before: history, prompt sets, and win rates, as safe HTML."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean

from distill_studio.core.records.comparison import (
    Answer,
    AnswerState,
    AnswerStats,
    Comparison,
    CostKind,
    ModelCard,
)
from distill_studio.services.evaluate import HeldOut
from distill_studio.ui.html import chip, esc, note, number, table, usd

_EXCERPT = 160


def history_html(comparisons: Sequence[Comparison], workspace: str) -> str:
    """A line per comparison; each is a link that also works in another browser."""
    rows = [
        [
            link_html(c, workspace, c.prompt, 110),
            esc(", ".join(answer.card.label for answer in c.answers)),
            esc(verdict_words(c)),
            f'<span class="ev-when">{c.created_at:%d %b %H:%M}</span>',
        ]
        for c in comparisons
    ]
    return table(
        ["Prompt", "Models", "Your vote", "When (UTC)"],
        rows,
        empty="Nothing compared yet. Comparisons you run are listed here, each with its own link.",
    )


def set_html(comparisons: Sequence[Comparison], workspace: str) -> str:
    """The answers of a set, a row per prompt, with means per model where the names are shown."""
    if not comparisons:
        return ""
    is_hidden = any(not answer.card.id for c in comparisons for answer in c.answers)
    if is_hidden:  # the order differs from row to row: a place is all that they share
        most = max(len(c.answers) for c in comparisons)
        names = [f"Answer {place}" for place in range(1, most + 1)]
    else:
        names = sorted({answer.card.label for c in comparisons for answer in c.answers})
    rows = [
        [
            link_html(c, workspace, c.prompt, 90),
            *(_by_place(c, len(names)) if is_hidden else _by_name(c, names)),
            esc(verdict_words(c)),
        ]
        for c in comparisons
    ]
    columns = ["Prompt", *names, "Your vote"]
    return table(columns, rows) + ("" if is_hidden else _means(comparisons))


def held_out_html(figures: Sequence[HeldOut]) -> str:
    """Held-out loss before and after training, a line per run."""
    lines = []
    for f in figures:
        parts = []
        if f.before is not None and f.after is not None:
            parts.append(f"held-out loss <b>{f.before:.3f} → {f.after:.3f}</b>")
        if f.margin_before is not None and f.margin_after is not None:
            parts.append(f"held-out margin <b>{f.margin_before:.3f} → {f.margin_after:.3f}</b>")
        if parts:
            base = f" from {esc(f.base)}" if f.base else ""
            lines.append(f'<p class="ev-held"><strong>{esc(f.run)}</strong>{base}: '
                         f"{', '.join(parts)}</p>")  # fmt: skip
    return "".join(lines)


def same_html(groups: Sequence[Sequence[ModelCard]]) -> str:
    """A line per group of chosen models that are one and the same."""
    return "".join(
        note(
            f"{' and '.join(card.label for card in group)} are the same model: where their answers"
            " differ, that is rounding or chance.",
            "warn",
        )
        for group in groups
    )


def link_html(comparison: Comparison, workspace: str, text: str, limit: int) -> str:
    """A permalink; inside the page a click opens it without a reload."""
    name = esc(comparison.id)
    return (
        f'<a class="ev-link" data-comparison="{name}"'
        f' href="?tab=evaluate&amp;workspace={esc(workspace)}&amp;comparison={name}">'
        f"{esc(text, limit)}</a>"
    )


def verdict_words(comparison: Comparison) -> str:
    """The reader's vote in words."""
    winner = comparison.winner
    if winner.isdigit():
        return comparison.answers[int(winner) - 1].card.label
    return {"": "–", "tie": "tie", "both_bad": "all bad"}[winner]


def _by_name(comparison: Comparison, names: Sequence[str]) -> list[str]:
    answers = {answer.card.label: answer for answer in comparison.answers}
    return [_cell(answers[name]) if name in answers else "–" for name in names]


def _by_place(comparison: Comparison, count: int) -> list[str]:
    """A cell per place; the name stands in it where the reader may know it."""
    cells = [
        (f"{chip(answer.card.label)} " if answer.card.id else "") + _cell(answer)
        for answer in comparison.answers
    ]
    return cells + ["–"] * (count - len(cells))


def _cell(answer: Answer) -> str:
    if answer.state is AnswerState.FAILED:
        return note(answer.error or "failed", "bad")
    return esc(answer.text, _EXCERPT)


def _means(comparisons: Sequence[Comparison]) -> str:
    by_name: dict[str, list[AnswerStats]] = defaultdict(list)
    for comparison in comparisons:
        for answer in comparison.answers:
            if answer.is_ok:
                by_name[answer.card.label].append(answer.stats)
    rows = [
        [
            esc(name),
            number(len(stats)),
            number(mean(s.characters for s in stats)),
            _mean_speed(stats),
            _mean_cost(stats),
        ]
        for name, stats in sorted(by_name.items())
    ]
    return table(["Model", "Answers", "Mean characters", "Mean speed", "Mean cost"], rows)


def _mean_speed(stats: Sequence[AnswerStats]) -> str:
    speeds = [s.tokens_per_s for s in stats if s.tokens_per_s is not None]
    unit = "tokens/s" if all(s.is_exact for s in stats) else "pieces/s"
    return f"{number(mean(speeds), 1)} {unit}" if speeds else "–"


def _mean_cost(stats: Sequence[AnswerStats]) -> str:
    """Of the answers whose cost is known; in words where none is."""
    costs = [s.cost_usd for s in stats if s.cost_usd is not None]
    if not costs:
        return "unknown" if any(s.cost is CostKind.UNKNOWN for s in stats) else "–"
    return usd(mean(costs)) if any(costs) else "free"
