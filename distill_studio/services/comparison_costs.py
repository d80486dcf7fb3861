"""What the answers of a comparison cost, by the prices of their teachers. Start at `costed`."""

from collections.abc import Sequence
from dataclasses import replace

from distill_studio.core.records import Message
from distill_studio.core.records.comparison import AnswerStats, CostKind
from distill_studio.evaluate.compare import Done, Event, Failed, Stopped
from distill_studio.teachers.prices import Price, tokens_in


def costed(event: Event, price: Price | None, messages: Sequence[Message]) -> Event:
    """The event with its answer's cost, where it ends one.

    Args:
        event: Of the fan-out.
        price: Of the model that answers; None where nobody said.
        messages: What it read: its length stands in for tokens that the server does not count.
    """
    if not isinstance(event, Done | Stopped | Failed):
        return event
    return replace(event, stats=with_cost(event.stats, price, messages))


def with_cost(stats: AnswerStats, price: Price | None, messages: Sequence[Message]) -> AnswerStats:
    """The figures with the cost; left out where no token was written."""
    written = stats.tokens if stats.billed_tokens is None else stats.billed_tokens
    if not written:
        return stats
    if price is None:
        return stats.model_copy(update={"cost": CostKind.UNKNOWN})
    if not price.usd_in and not price.usd_out:
        return stats.model_copy(update={"cost": CostKind.FREE, "cost_usd": 0.0})
    read = stats.prompt_tokens
    if read is None:
        read = tokens_in(sum(len(message.content) for message in messages))
    usd = price.cost(read, written)
    return stats.model_copy(update={"cost": CostKind.KNOWN, "cost_usd": usd})
