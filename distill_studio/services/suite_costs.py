"""What an answer of each model of a trial costs. Start at `with_costs`.

A teacher with a price costs its tokens. A model of an own machine costs the time that it took,
where somebody has said what the machine costs an hour; else no price is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from distill_studio.core.errors import NotFound
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.suite import SuiteItem, Trial
from distill_studio.evaluate.standings import Standing, Standings
from distill_studio.teachers.prices import Price, price_of, tokens_in

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_ANSWERS = 1000
_HOUR_S = 3600.0
UNKNOWN = "no price known"
_NO_TEXT = "it wrote nothing here"


def with_costs(
    workspace: Workspace,
    trial: Trial,
    found: Standings,
    items: Sequence[SuiteItem],
    *,
    suite_is_read: bool,
) -> Standings:
    """The same standings with the price of 1,000 answers of each model.

    Args:
        workspace: Whose teachers' prices hold.
        trial: With the price of the machine, where one was given.
        found: How the models did.
        items: What was asked, for the tokens read where a model does not say.
        suite_is_read: Models read texts and write none, so that there is no answer to pay.
    """
    if suite_is_read:
        return found.model_copy(
            update={"rows": [r.model_copy(update={"tokens_per_s": None}) for r in found.rows]}
        )
    characters = [sum(len(m.content) for m in item.messages) for item in items]
    read = tokens_in(sum(characters) / len(characters)) if characters else 0
    prices: Mapping[str, Price | None] = {
        row.card.id: _price(workspace, row.card) for row in found.rows
    }
    return found.model_copy(
        update={
            "rows": [
                _priced(row, prices[row.card.id], trial.usd_per_hour, read) for row in found.rows
            ]
        }
    )


def _priced(row: Standing, price: Price | None, usd_per_hour: float | None, read: int) -> Standing:
    usd, basis = _cost(row, price, usd_per_hour, read)
    return row.model_copy(update={"usd_per_1000": usd, "cost_basis": basis})


def _cost(
    row: Standing, price: Price | None, usd_per_hour: float | None, read: int
) -> tuple[float | None, str]:
    """USD of 1,000 answers, and what that rests on."""
    if row.mean_tokens is None:
        return None, _NO_TEXT
    if price is None:
        return None, f"{UNKNOWN}: give the teacher its prices"
    if not price.is_own:
        prompt = read if row.mean_prompt_tokens is None else row.mean_prompt_tokens
        usd = _ANSWERS * price.cost(prompt, row.mean_tokens)
        return usd, (
            f"${price.usd_in:g} and ${price.usd_out:g} per million tokens read and written"
            f" ({price.source})"
        )
    if usd_per_hour is None:
        return None, f"{UNKNOWN}: say what the machine costs an hour"
    if not row.tokens_per_s:
        return None, _NO_TEXT
    each_s = row.mean_tokens / row.tokens_per_s
    return _ANSWERS * each_s * usd_per_hour / _HOUR_S, (
        f"${usd_per_hour:g} an hour at {row.tokens_per_s:,.0f} tokens/s"
    )


def _price(workspace: Workspace, card: ModelCard) -> Price | None:
    """Of a teacher as it is configured now; of this machine for the others."""
    role, _, name = card.id.partition(":")
    if role != ModelRole.TEACHER:
        return Price(usd_in=0.0, usd_out=0.0, source="this machine", is_own=True)
    try:
        return price_of(workspace.teachers.config(name))
    except NotFound:
        return None
