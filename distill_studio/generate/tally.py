"""Counts what is asked of one teacher in one job, useless replies too.

Start from `Tally.ended`. Requests are counted on the event loop, totals read on the thread that
stores replies.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from distill_studio.core.protocols import ChatReply, Clock
from distill_studio.core.records import AskedTotals


class Tally:
    """Goes on from what earlier runs of the job asked.

    Args:
        clock: Seconds, rising.
        before: What earlier runs asked.
    """

    def __init__(self, clock: Clock, before: AskedTotals | None = None) -> None:
        self._clock = clock
        self._before = before or AskedTotals(teacher="")
        self._failures = Counter(self._before.failures)
        self._lock = threading.Lock()
        self._requests = self._untold = self._read = self._written = 0
        self._in_flight = 0
        self._busy_since = self._busy_s = 0.0

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Around each request: time counts while one is in flight at least."""
        with self._lock:
            if not self._in_flight:
                self._busy_since = self._clock()
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1
                if not self._in_flight:
                    self._busy_s += self._clock() - self._busy_since

    def ended(self, reply: ChatReply) -> None:
        """A request has come to its end, well or not."""
        with self._lock:
            self._requests += 1
            if not reply.is_ok:
                self._failures[reply.error_code] += 1
                return
            self._untold += reply.completion_tokens is None
            self._read += reply.prompt_tokens or 0
            self._written += reply.completion_tokens or 0

    def useless(self, code: str) -> None:
        """A reply came and could not be used."""
        with self._lock:
            self._failures[code] += 1

    def totals(self, teacher: str, cost_usd: float | None = None) -> AskedTotals:
        """All that was asked, earlier runs included.

        Args:
            teacher: Name.
            cost_usd: Of it all; None where unknown, then what an earlier run knew stands.
        """
        before = self._before
        with self._lock:
            now_s = self._clock() - self._busy_since if self._in_flight else 0.0
            return AskedTotals(
                teacher=teacher,
                requests=before.requests + self._requests,
                untold=before.untold + self._untold,
                prompt_tokens=before.prompt_tokens + self._read,
                completion_tokens=before.completion_tokens + self._written,
                busy_s=before.busy_s + self._busy_s + now_s,
                cost_usd=before.cost_usd if cost_usd is None else cost_usd,
                failures=dict(self._failures),
            )
