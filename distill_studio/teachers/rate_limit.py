"""Pace requests to so many requests and tokens per minute.

A small own one because a token count is known only afterwards: what is reserved for a request is
corrected by what it used, which `aiolimiter` and its like cannot do. Start at `Turns.wait`.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

_MINUTE_S = 60.0


class RateLimit:
    """Hands out evenly spaced starting times; thread-safe, shared by all jobs of one teacher.

    Args:
        requests_per_min: 0 = no limit. Any 60 s see at most so many starts.
        tokens_per_min: 0 = no limit. Kept on average; one request may be larger than a share.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        requests_per_min: int,
        tokens_per_min: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request_s = _MINUTE_S / requests_per_min if requests_per_min else 0.0
        self._token_s = _MINUTE_S / tokens_per_min if tokens_per_min else 0.0
        self._clock = clock
        self._next_request = 0.0
        self._next_token = 0.0
        self._guard = threading.Lock()

    @property
    def is_limited(self) -> bool:
        """False when it never makes anybody wait."""
        return bool(self._request_s or self._token_s)

    def reserve(self, tokens: float) -> float:
        """Take the next turn for a request of about so many tokens; returns seconds to wait."""
        if not self.is_limited:
            return 0.0
        with self._guard:
            now = self._clock()
            turn = max(now, self._next_request, self._next_token)
            self._next_request = turn + self._request_s
            self._next_token = turn + tokens * self._token_s
            return turn - now

    def settle(self, reserved: float, used: float) -> None:
        """Correct a reservation: what was not used is there for the next, and the reverse."""
        if self._token_s:
            with self._guard:
                self._next_token += (used - reserved) * self._token_s


class Turns:
    """The line of one model's requests before a limit that others may share.

    Only its head has reserved a turn: what a cancel leaves behind is one turn, not all of them.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    @property
    def is_limited(self) -> bool:
        """False when nobody ever waits."""
        return self._limit.is_limited

    async def wait(self, tokens: float) -> None:
        """Wait for the turn of a request of about so many tokens."""
        if not self._limit.is_limited:
            return
        async with self._lines.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            await asyncio.sleep(self._limit.reserve(tokens))

    def settle(self, reserved: float, used: float) -> None:
        """Correct a reservation; see `RateLimit.settle`."""
        self._limit.settle(reserved, used)
