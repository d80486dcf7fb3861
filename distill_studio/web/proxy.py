"""Proxies in front of the app: whose word counts about visitors' addresses and about who they are.

What a header says is believed only from the very address that the connection came from, so that is
noted before any header changes what counts as the visitor's address.
"""

import ipaddress
import os
import re

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from distill_studio.core.errors import InvalidInput
from distill_studio.core.settings import Settings
from distill_studio.services.outsiders import Outsider

PEER = "distill_studio.peer"
_LOCAL = ["127.0.0.1", "::1"]
# Only a Space's own proxy reaches its port, from such an address.
_PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Peer:
    """Notes where a connection really comes from. The outermost layer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note it and go on."""
        if scope["type"] != "lifespan":
            scope[PEER] = scope["client"][0] if scope.get("client") else ""
        await self.app(scope, receive, send)


def behind_proxies(app: ASGIApp, settings: Settings) -> ASGIApp:
    """The app, told visitors' addresses and scheme (`X-Forwarded-For`, `-Proto`) by its proxies."""
    told = os.environ.get("FORWARDED_ALLOW_IPS", "")
    trusted = (
        told.split(",") if told else [*_LOCAL, *(_PRIVATE if "SPACE_ID" in os.environ else ())]
    )
    if told != "*":
        trusted += [str(network) for network in networks(settings.proxy_addresses)]
    # mypy: uvicorn and Starlette name the same ASGI types differently
    return Peer(ProxyHeadersMiddleware(app, trusted_hosts=trusted))  # type: ignore[arg-type]


class TrustedProxy:
    """A proxy that lets people in and says who they are, in a header.

    Args:
        settings: Name the headers and the addresses.

    Raises:
        InvalidInput: An address is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._header = settings.proxy_header
        self._groups_header = settings.proxy_groups_header
        self._networks = networks(settings.proxy_addresses)

    def person(self, request: HTTPConnection) -> Outsider | None:
        """Whom the proxy names; None when nobody, or when it is not the proxy that asks.

        A header that is there twice was sent by the visitor as well, so it names nobody.
        """
        named = request.headers.getlist(self._header)
        if len(named) != 1 or not named[0].strip() or not self._is_proxy(request):
            return None
        groups = request.headers.getlist(self._groups_header) if self._groups_header else []
        found = groups[0].split(",") if len(groups) == 1 else []
        login = named[0].strip()
        # its case does not count, so neither does it for whether it is the same person
        return Outsider(
            "proxy", login, login.lower(), {name.strip(): "" for name in found if name.strip()}
        )

    def _is_proxy(self, request: HTTPConnection) -> bool:
        peer = request.scope.get(PEER) or (request.client.host if request.client else "")
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def networks(text: str) -> list[Network]:
    """Addresses and networks of a setting.

    Raises:
        InvalidInput: One of them is none.
    """
    found: list[Network] = []
    for entry in filter(None, re.split(r"[,;\s]+", text)):
        try:
            found.append(ipaddress.ip_network(entry, strict=False))
        except ValueError as err:
            raise InvalidInput(
                f"DISTILL_STUDIO_PROXY_ADDRESSES: '{entry}' is no address.",
                "Write addresses or networks, as 10.0.0.5 or 10.1.0.0/16.",
            ) from err
    return found
