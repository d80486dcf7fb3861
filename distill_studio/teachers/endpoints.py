"""The URLs of one teacher: which is asked next, which rest, and the connections to them.

Start at `Endpoints.next_after`. A URL that fails is left out for a pause that doubles up to a
minute; then one request tries it, and its answer brings it back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx2

from distill_studio.core.errors import (
    TeacherAddressRefused,
    TeacherError,
    TeacherMalformedReply,
    TeacherRateLimited,
    TeacherUnauthorised,
    TeacherUnknownModel,
    TeacherUnreachable,
)
from distill_studio.core.reach import Reach
from distill_studio.core.records import TeacherConfig
from distill_studio.teachers.guarded_transport import guarded_transport

if TYPE_CHECKING:
    import ssl

    import openai

_CONNECT_S = 10.0
_CONNECTIONS_A_CLIENT = 16  # its pool looks at each of them, twice for every request
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
# What says something about the server rather than about the request.
_OF_THE_SERVER = (
    TeacherUnreachable,
    TeacherAddressRefused,
    TeacherMalformedReply,
    TeacherRateLimited,
    TeacherUnauthorised,
    TeacherUnknownModel,
)


@dataclass
class _Shared:
    """A client and how many requests it carries."""

    client: openai.AsyncOpenAI
    in_flight: int = 0


@dataclass(eq=False)
class Endpoint:
    """One URL and how it fares.

    Attributes:
        config: The teacher's, with this URL as `base_url`.
        reach: Where connections may lead.
        not_before: Monotonic; the server asked for no request before.
        is_vllm: Known once the server was asked for its models.
    """

    config: TeacherConfig
    reach: Reach = field(default_factory=Reach)
    clock: Callable[[], float] = time.monotonic
    in_flight: int = 0
    not_before: float = 0.0
    is_vllm: bool | None = None
    learning: asyncio.Task[bool | None] | None = None
    _failures: int = 0
    _down_until: float = 0.0
    _clients: WeakKeyDictionary[asyncio.AbstractEventLoop, list[_Shared]] = field(
        default_factory=WeakKeyDictionary
    )

    @property
    def is_ready(self) -> bool:
        """True when it may be asked; after a pause, by one request at a time until it answers."""
        if self.clock() < max(self._down_until, self.not_before):
            return False
        return self._failures == 0 or self.in_flight == 0

    def note_answer(self) -> None:
        """It works."""
        self._failures, self._down_until = 0, 0.0

    def note_failure(self, err: TeacherError) -> bool:
        """Rest it where the failure is the server's; False where it is the request's own."""
        if not isinstance(err, _OF_THE_SERVER):
            return False
        now = self.clock()
        if isinstance(err, TeacherRateLimited) and err.is_retryable:
            self.not_before = max(self.not_before, now + (err.retry_after_s or 0.0))
            return True
        if now >= self._down_until:  # not once for each of the requests that fell together
            self._failures += 1
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (self._failures - 1))
            self._down_until = now + pause_s
        return True

    async def hold_back(self) -> None:
        """Wait as long as the server asked for, whoever it told."""
        while (wait_s := self.not_before - self.clock()) > 0:
            await asyncio.sleep(wait_s)

    @contextmanager
    def client(self, api_key: str) -> Iterator[openai.AsyncOpenAI]:
        """The least busy client of the running event loop: connections cannot move between loops.

        With 256 requests in flight a single client would spend most of its time on its pool.
        """
        count = -(-self.config.concurrency // _CONNECTIONS_A_CLIENT)
        all_shared = self._clients.setdefault(asyncio.get_running_loop(), [])
        shared = min(all_shared, key=lambda each: each.in_flight, default=None)
        if shared is None or (shared.in_flight and len(all_shared) < count):
            shared = _Shared(
                new_client(self.config, api_key, _CONNECTIONS_A_CLIENT, reach=self.reach)
            )
            all_shared.append(shared)
        shared.in_flight += 1
        self.in_flight += 1
        try:
            yield shared.client
        finally:
            shared.in_flight -= 1
            self.in_flight -= 1

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        for shared in self._clients.pop(asyncio.get_running_loop(), []):
            await shared.client.close()


class Endpoints:
    """All URLs of a teacher.

    Args:
        config: Its addresses and limits.
        clock: Monotonic seconds.
        reach: Where connections may lead; by default where this process was told.
    """

    def __init__(
        self,
        config: TeacherConfig,
        clock: Callable[[], float] = time.monotonic,
        reach: Reach | None = None,
    ) -> None:
        urls = config.urls or ("",)
        self.every = [
            Endpoint(
                config.model_copy(update={"base_url": url}), reach or Reach.of_this_process(), clock
            )
            for url in urls
        ]

    def next_after(
        self, tried: Collection[Endpoint], failed: TeacherError | None = None
    ) -> Endpoint | None:
        """The least busy URL that is well and not in `tried`; then those that rest; else None.

        A request is given up only when no URL serves it, so the resting ones get their chance
        too, but not for a request that another URL only asked to come later.
        """
        left = [each for each in self.every if each not in tried]
        ready = [each for each in left if each.is_ready]
        if not ready and isinstance(failed, TeacherRateLimited):
            return None
        return min(ready or left, key=lambda each: each.in_flight, default=None)

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        for each in self.every:
            await each.aclose()


def new_client(
    config: TeacherConfig, api_key: str, connections: int = 1, *, reach: Reach | None = None
) -> openai.AsyncOpenAI:
    """A client for `config.base_url` and nothing else.

    It takes no key, organisation or project from the environment, and follows no redirect, which
    would carry the key elsewhere. Where `reach` does not trust the host, the address that is
    connected to is judged.
    """
    import openai

    unset: dict[str, Any] = {
        name: openai.Omit() for name in ("OpenAI-Organization", "OpenAI-Project")
    }
    url = httpx2.URL(config.base_url)
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    transport = None
    if reach is not None and not reach.trusts(url.host, _port(url)):
        transport = guarded_transport(reach, _tls_context(), limits)
    is_here = url.host in ("127.0.0.1", "localhost", "::1")
    return openai.AsyncOpenAI(
        api_key=api_key or "none",
        base_url=config.base_url,
        max_retries=0,  # ours, which know of the other requests
        default_headers=unset,
        http_client=httpx2.AsyncClient(
            transport=transport,
            timeout=httpx2.Timeout(
                config.timeout_s, connect=min(_CONNECT_S, config.timeout_s), pool=None
            ),
            limits=limits,
            follow_redirects=False,
            trust_env=not is_here,  # a proxy cannot reach this machine's own servers
            verify=_tls_context(),
        ),
    )


def _port(url: httpx2.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


@cache
def _tls_context() -> ssl.SSLContext:
    """One for all clients: reading the certificates takes 26 ms."""
    return httpx2.create_ssl_context()
