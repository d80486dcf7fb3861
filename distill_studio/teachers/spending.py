"""What one job has cost so far, and the end of asking when that is enough.

Start at `SpendMeter.reserve`. Pure but for the event loop it waits in.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from distill_studio.core.errors import TeacherSpendLimit
from distill_studio.teachers.prices import Price

_POLL_S = 0.05


class SpendMeter:
    """Counts what a teacher's answers cost.

    Args:
        teacher: Name, for the message.
        price: None where unknown: nothing is counted and no limit holds.
        limit_usd: 0 = none.
        spent_usd: What the same job cost before a restart.
    """

    def __init__(
        self, teacher: str, price: Price | None, limit_usd: float = 0.0, spent_usd: float = 0.0
    ) -> None:
        self._teacher = teacher
        self.price = price
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self._reserved_usd = 0.0

    def add(self, prompt_tokens: float, completion_tokens: float) -> None:
        """Count an answer."""
        if self.price is not None:
            self.spent_usd += self.price.cost(prompt_tokens, completion_tokens)

    @asynccontextmanager
    async def reserve(
        self, prompt_tokens: float, most_completion_tokens: float
    ) -> AsyncIterator[None]:
        """Set aside what a request may cost while it is under way.

        Near the limit requests wait for those in flight, so that the limit is passed by one
        request's cost at most.

        Raises:
            TeacherSpendLimit: Nothing is left to spend.
        """
        if self.price is None or not self.limit_usd:
            yield
            return
        most_usd = self.price.cost(prompt_tokens, most_completion_tokens)
        while self._reserved_usd and not self._is_spent and not self._has_room(most_usd):
            await asyncio.sleep(_POLL_S)
        if self._is_spent:
            raise limit_reached(self._teacher, self.spent_usd, self.limit_usd)
        self._reserved_usd += most_usd
        try:
            yield
        finally:
            self._reserved_usd -= most_usd
            if self._reserved_usd < 1e-12:  # rounding
                self._reserved_usd = 0.0

    @property
    def _is_spent(self) -> bool:
        return self.spent_usd >= self.limit_usd

    def _has_room(self, usd: float) -> bool:
        return self.spent_usd + self._reserved_usd + usd <= self.limit_usd


def limit_reached(teacher: str, spent_usd: float, limit_usd: float) -> TeacherSpendLimit:
    """That a teacher has cost what it may, in words."""
    return TeacherSpendLimit(
        f"{teacher} has cost {spent_usd:.4f} USD in this job; the limit of one job is"
        f" {limit_usd:g} USD.",
        "Raise the teacher's spend limit, then resume: what was answered is stored.",
    )
