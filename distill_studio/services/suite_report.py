"""All that an evaluation's page says, gathered from the store."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from distill_studio import __version__
from distill_studio.core.records.base import utc_now
from distill_studio.core.records.suite import Suite, SuiteScorer, Trial
from distill_studio.evaluate.losses import tally
from distill_studio.evaluate.standings import Standings
from distill_studio.evaluate.suite_page import LostBy, ShownPrompt, SuiteReport
from distill_studio.services.feedback_work import groups_of
from distill_studio.store import suites as table

if TYPE_CHECKING:
    from distill_studio.store.database import Database

_EXAMPLES = 30


def gather(
    db: Database, suite: Suite, trial: Trial, found: Standings, practice: Collection[int] = ()
) -> SuiteReport:
    """The report on a trial; examples are prompts that were lost, then the first ones.

    Args:
        db: The store.
        suite: What was asked.
        trial: Of whom.
        found: How they did.
        practice: Numbers of prompts that do not count, in the losses as in `found`.
    """
    scores = [row for row in table.scores(db, trial.id) if row["number"] not in practice]
    items = {item.number: item for item in table.items(db, suite.id)}
    texts = {number: item.messages[-1].content for number, item in items.items()}
    lost, numbers = [], list[int]()
    for card in [row.card for row in found.rows if found.teacher]:
        if card.id == found.teacher:
            continue
        count = tally(scores, found.teacher, card.id)
        if suite.scorer is not SuiteScorer.AGREEMENT:  # with itself, the teacher never loses
            lost.append(
                LostBy(
                    label=card.label,
                    compared=count.compared,
                    lost=len(count.losses),
                    won=count.won,
                    groups=groups_of(count.losses, texts),
                )
            )
        numbers += [loss.number for loss in count.losses]
    asked = [row["number"] for row in scores]
    shown = list(dict.fromkeys([*numbers, *asked]))[:_EXAMPLES]
    return SuiteReport(
        suite=suite,
        trial=trial,
        standings=found,
        lost=lost,
        examples=[
            ShownPrompt(
                item=items[number],
                answers=table.answers(db, trial.id, after=number - 1, limit=1),
            )
            for number in sorted(shown)
        ],
        made_at=utc_now(),
        version=__version__,
    )
