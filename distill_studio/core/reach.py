"""Which addresses the app connects to when a user gives it a URL.

Start at `Reach.check`: it judges the address that is about to be connected to, not the name it was
found by, so that neither a redirect nor a name that answers differently the second time leads
inside. Needs nothing but the standard library: the benchmarks' child, a program of its own, reads
this file too.
"""

import ipaddress
import json
import os
import re
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# Beyond what `ipaddress` of every Python from 3.11 on knows (IANA's special-purpose registries).
_SPECIAL = [
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # public by number, answered by Azure's own host
        "192.0.0.0/24",  # holds Oracle's metadata server
        "192.88.99.0/24",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
# Inside a Space the Hub's own names lead to addresses of its network.
HUB_NAMES = ("hf.co", "*.hf.co", "huggingface.co", "*.huggingface.co")


_TOLD = "DISTILL_STUDIO_CHILD_REACH"  # from the app to the processes that it starts


class AddressRefused(OSError):
    """An address that users' URLs may not reach here."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(host, address)
        self.host = host
        self.address = address

    def __str__(self) -> str:
        where = self.host if self.host == self.address else f"{self.host} ({self.address})"
        return f"{where} is a private or local address, which this installation does not connect to"


@dataclass(frozen=True)
class _Rule:
    """One entry of the list: a name, or a network; on one port or on all."""

    name: str
    network: IPv4Network | IPv6Network | None
    port: int | None

    def names(self, host: str, port: int | None) -> bool:
        """Whether it allows a host by its name."""
        if self.network is not None or self.port not in (None, port):
            return False
        is_below = self.name.startswith("*.") and host.endswith(self.name[1:])
        return self.name in ("*", host) or is_below

    def holds(self, address: Address, port: int | None) -> bool:
        """Whether it allows an address by its number."""
        if self.network is None or self.port not in (None, port):
            return False
        return address.version == self.network.version and address in self.network


@dataclass(frozen=True)
class Reach:
    """What may be reached.

    Attributes:
        is_open: Everything, as on one's own machine.
        allowed: Names (`ollama.lan`, `*.corp.example`), addresses and networks (`10.0.0.0/8`) that
            may be reached all the same, each perhaps with `:port`; `*` for everything.
        own_ports: Ports of 127.0.0.1 on which servers listen that the app itself started.
    """

    is_open: bool = True
    allowed: Sequence[str] = ()
    own_ports: Callable[[], Collection[int]] = field(default=tuple)

    def environment(self) -> dict[str, str]:
        """Variables that tell it to a child process; see `of_this_process`."""
        if self.is_open:
            return {}
        told = {"allowed": list(self.allowed), "own_ports": sorted(self.own_ports())}
        return {_TOLD: json.dumps(told)}

    @classmethod
    def of_this_process(cls) -> "Reach":
        """What the app told the process that it started; everything where it told nothing."""
        if not os.environ.get(_TOLD):
            return cls()
        told = json.loads(os.environ[_TOLD])
        ports = set(told["own_ports"])
        return cls(is_open=False, allowed=tuple(told["allowed"]), own_ports=lambda: ports)

    def trusts(self, host: str, port: int | None = None) -> bool:
        """True when a host may be reached whatever its address."""
        name = host.lower().rstrip(".")
        return self.is_open or any(_rule(entry).names(name, port) for entry in self.allowed)

    def check(self, host: str, address: str, port: int | None) -> None:
        """Judge the address that is about to be connected to.

        Args:
            host: As the user gave it.
            address: What it resolved to; a number.
            port: There.

        Raises:
            AddressRefused: It is private, link-local, loopback or else not of the internet, and
                nothing allows it.
        """
        if self.trusts(host, port):
            return
        try:
            number = ipaddress.ip_address(address)
        except ValueError as err:
            raise AddressRefused(host, address) from err
        if any(_rule(entry).holds(inner(number), port) for entry in self.allowed):
            return
        if inner(number) == IPv4Address("127.0.0.1") and port in self.own_ports():
            return
        if not is_public(number):
            raise AddressRefused(host, address)

    def check_literal(self, host: str, port: int | None) -> None:
        """Judge a host that is written as a number in any of its forms; names pass, unresolved.

        Raises:
            AddressRefused: As `check`.
        """
        address = literal(host)
        if address is not None:
            self.check(host, str(address), port)


def is_public(address: Address) -> bool:
    """True for an address of the internet, by what it stands for where it wraps another."""
    real = inner(address)
    return real.is_global and not (
        real.is_multicast
        or real.is_reserved
        or real.is_unspecified
        or any(real.version == net.version and real in net for net in _SPECIAL)
    )


def inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one wraps (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def literal(host: str) -> Address | None:
    """The address that a host spells: 127.0.0.1, 2130706433, 0x7f.1, ::1, localhost; else None."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(name))  # decimal, octal, hexadecimal, short forms
    except (OSError, ValueError):
        return None


def checked_entries(text: str) -> tuple[str, ...]:
    """The entries of a list separated by commas or spaces.

    Raises:
        ValueError: Names the entry that is no name, address or network.
    """
    entries = tuple(entry.lower() for entry in re.split(r"[,\s]+", text) if entry)
    for entry in entries:
        _rule(entry)
    return entries


@lru_cache(maxsize=1024)
def _rule(entry: str) -> _Rule:
    host, port = _with_port(entry)
    try:
        return _Rule("", ipaddress.ip_network(host, strict=False), port)
    except ValueError:
        pass
    if not _NAME.fullmatch(host):
        raise ValueError(
            f"'{entry}' is no host, address or network, such as ollama.lan, 10.1.2.3 or 10.0.0.0/8"
        )
    return _Rule(host, None, port)


def _with_port(entry: str) -> tuple[str, int | None]:
    bracketed = re.fullmatch(r"\[(.+)\](?::(\d+))?", entry)
    if bracketed:
        return bracketed[1], int(bracketed[2]) if bracketed[2] else None
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and ":" not in host:
        return host, int(port)
    return entry, None
