"""HTTP connections that lead only where users' URLs may lead. Start at `guarded_transport`.

A name is resolved once, every address it has is judged, and the connection goes to one of these
very addresses: a name server that answers differently the second time is not asked a second time.
Host header, SNI and the check of the certificate stay those of the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2

from distill_studio.core.reach import AddressRefused, Reach

if TYPE_CHECKING:
    import ssl


class NotReached(httpcore2.ConnectError):
    """A connection that was not tried: `Reach` refuses its address."""


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens TCP connections to addresses that `reach` allows, and to nothing else."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._plain = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of `host` that answers.

        Raises:
            NotReached: One of its addresses may not be reached.
            httpcore2.ConnectError: No such name, or nobody answers.
            httpcore2.ConnectTimeout: Nor in time.
        """
        failed: Exception | None = None
        for address in await self._addresses(host, port, timeout):
            try:
                return await self._plain.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as err:
                failed = failed or err
        raise failed or httpcore2.ConnectError(f"{host} has no address")

    async def connect_unix_socket(self, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
        """No URL leads to one."""
        raise httpcore2.ConnectError("not a network address")

    async def sleep(self, seconds: float) -> None:
        """Between attempts to connect."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int, timeout_s: float | None) -> list[str]:
        """All addresses of a host, each judged."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as err:
            raise httpcore2.ConnectTimeout(f"no address for {host} in time") from err
        except (OSError, UnicodeError) as err:
            raise httpcore2.ConnectError(str(err)) from err
        addresses = [str(each[4][0]) for each in found]
        try:
            for address in addresses:
                self._reach.check(host, address, port)
        except AddressRefused as err:  # in the words of a client's errors, which openai expects
            raise NotReached(str(err)) from err
        return list(dict.fromkeys(addresses))


class _GuardedTransport(httpx2.AsyncHTTPTransport):
    """httpx2's transport over connections of our own: it takes no network backend itself."""

    def __init__(self, reach: Reach, verify: ssl.SSLContext, limits: httpx2.Limits) -> None:
        super().__init__(verify=verify, trust_env=False, limits=limits)
        if not isinstance(getattr(self, "_pool", None), httpcore2.AsyncConnectionPool):
            raise RuntimeError("httpx2 keeps its connections elsewhere now: they are not guarded")
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=verify,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=CheckedBackend(reach),
        )


def guarded_transport(
    reach: Reach, verify: ssl.SSLContext, limits: httpx2.Limits
) -> httpx2.AsyncBaseTransport:
    """A transport that connects only where `reach` allows; no proxy of the environment is used.

    Args:
        reach: What may be reached.
        verify: For https.
        limits: Of connections at once.
    """
    return _GuardedTransport(reach, verify, limits)
