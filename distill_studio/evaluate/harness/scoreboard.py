"""Models beside each other on public benchmarks: a figure per task, with its standard error and n.

A difference is called one only where the two 95% intervals do not overlap. That is stricter than
a test of the difference, and needs no scores by question (suites have those, and pair them).
"""

from collections.abc import Sequence
from typing import Literal

import scipy
from pydantic import Field

from distill_studio.core.estimate import CONFIDENCE, Estimate
from distill_studio.core.records.base import Record
from distill_studio.core.records.benchmark import BenchmarkScore, BenchmarkSettings
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.evaluate.harness.catalogue import MAIN_METRIC

Verdict = Literal["better", "worse", "overlap", "unknown", "other"]
_ROLES = [ModelRole.TEACHER, ModelRole.BASE, ModelRole.STUDENT, None]


class Against(Record):
    """How a figure stands to another model's."""

    label: str = Field(description="The other model.")
    verdict: Verdict = Field(
        description="better, worse; overlap: the intervals do; unknown: one has none; other: the"
        " questions, the task's version or the metric are not the same."
    )


class Cell(Record):
    """A model's figure on a task."""

    run_id: str = Field(description="Where it comes from.")
    score: BenchmarkScore = Field(description="The main figure.")
    estimate: Estimate = Field(description="The same with its 95% interval.")
    teacher: Against | None = Field(default=None, description="None for the teacher itself.")
    base: Against | None = Field(default=None, description="None for teacher and base.")

    @property
    def is_smoke(self) -> bool:
        """Only some of the questions were asked: a test that all runs, no result."""
        return self.score.n < self.score.total


class BoardRow(Record):
    """One model."""

    card: ModelCard = Field(description="Who.")
    cells: dict[str, Cell] = Field(description="By task.")


class Scoreboard(Record):
    """All that was asked in one way."""

    key: str = Field(default="", description="Of the settings.")
    settings: BenchmarkSettings = Field(default=BenchmarkSettings(), description="How.")
    tasks: list[str] = Field(default=[], description="Columns.")
    rows: list[BoardRow] = Field(default=[], description="Teachers, bases, students.")


def scoreboard(
    settings: BenchmarkSettings,
    found: Sequence[tuple[str, BenchmarkScore]],
    cards: dict[str, ModelCard],
) -> Scoreboard:
    """The table of models and tasks.

    Args:
        settings: How all were asked.
        found: (run, figure), for each model and task those of one run.
        cards: Who was asked in a run.
    """
    mine: dict[str, dict[str, list[tuple[str, BenchmarkScore]]]] = {}
    known: dict[str, ModelCard] = {}
    for run_id, score in found:
        if score.is_asked:
            card = cards[run_id]
            known[card.id] = card
            mine.setdefault(card.id, {}).setdefault(score.task, []).append((run_id, score))
    order = sorted(known.values(), key=lambda card: _ROLES.index(card.role))
    cells = {card.id: {task: _cell(of) for task, of in mine[card.id].items()} for card in order}
    teacher = next((card for card in order if card.role is ModelRole.TEACHER), None)
    base = next((card for card in order if card.role is ModelRole.BASE), None)
    rows = [
        BoardRow(
            card=card,
            cells={
                task: _compared(card, cell, task, cells, teacher, base)
                for task, cell in cells[card.id].items()
            },
        )
        for card in order
    ]
    tasks = list(dict.fromkeys(task for row in rows for task in row.cells))
    return Scoreboard(key=settings.key, settings=settings, tasks=tasks, rows=rows)


def interval(score: BenchmarkScore) -> Estimate:
    """The figure with Student's t interval from its standard error."""
    value, n = score.value, score.n
    if not score.stderr or n < 2:
        why = "The harness gives no standard error."
        if score.stderr == 0:
            why = "All questions scored the same: nothing says how far chance could go."
        return Estimate(value=value, n=n, why=why)
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * score.stderr
    return Estimate(value=value, low=value - half, high=value + half, n=n)


def against(mine: Cell, other: Cell) -> Verdict:
    """How one figure stands to another."""
    a, b = mine.score, other.score
    same = ("metric", "filter", "version", "fingerprint", "n", "shots")
    if any(getattr(a, name) != getattr(b, name) for name in same):
        return "other"
    x, y = mine.estimate, other.estimate
    if x.low is None or x.high is None or y.low is None or y.high is None:
        return "unknown"
    if x.low <= y.high and y.low <= x.high:
        return "overlap"
    return "better" if (x.low > y.high) == a.is_higher_better else "worse"


def main_figure(scores: Sequence[BenchmarkScore]) -> BenchmarkScore:
    """The figure that people mean by the score of a task."""
    wanted = MAIN_METRIC.get(scores[0].task)
    return next((score for score in scores if score.metric == wanted), scores[0])


def _cell(found: Sequence[tuple[str, BenchmarkScore]]) -> Cell:
    score = main_figure([score for _, score in found])
    return Cell(run_id=found[0][0], score=score, estimate=interval(score))


def _compared(
    card: ModelCard,
    cell: Cell,
    task: str,
    cells: dict[str, dict[str, Cell]],
    teacher: ModelCard | None,
    base: ModelCard | None,
) -> Cell:
    update: dict[str, Against] = {}
    for name, other in (("teacher", teacher), ("base", base)):
        is_above = card.role is ModelRole.TEACHER or (name == "base" and card is base)
        if other is None or card is other or is_above or task not in cells[other.id]:
            continue
        update[name] = Against(label=other.label, verdict=against(cell, cells[other.id][task]))
    return cell.model_copy(update=update)
