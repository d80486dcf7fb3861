"""What a teacher's tokens cost. Pure: the table is given, nothing is asked of any server.

Start at `price_of`. The table is `assets/prices.json`; a teacher's own prices go before it.
"""

import ipaddress
import json
import math
from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from distill_studio.core.records import Record, TeacherConfig, TeacherKind

_TABLE = Path(__file__).resolve().parents[2] / "assets" / "prices.json"
CHARACTERS_A_TOKEN = 4.0  # English; a rough figure is enough before the first reply
_MILLION = 1_000_000.0


class PriceRow(Record):
    """One line of the price table."""

    provider: str = Field(description="Who sells it.")
    host: str = Field(description="Of the teacher's address.")
    model: str = Field(description="Pattern of model ids, as in file names (*).")
    usd_in: float = Field(ge=0, description="Per million tokens read.")
    usd_out: float = Field(ge=0, description="Per million tokens written.")
    source: str = Field(description="The seller's own page of prices.")
    via: str = Field(default="", description="The page that quoted it, where read second-hand.")
    note: str = Field(default="", description="What the two figures leave out.")
    as_of: date = Field(description="When the figures stood there.")


class Price(Record):
    """What a teacher's tokens cost."""

    usd_in: float = Field(description="Per million tokens read.")
    usd_out: float = Field(description="Per million tokens written.")
    source: str = Field(description="In words: this machine, the teacher's settings, or a URL.")
    as_of: date | None = Field(default=None, description="Where it stands in the table.")
    is_own: bool = Field(default=False, description="Nobody sends a bill: an own machine.")

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """In USD."""
        return (prompt_tokens * self.usd_in + completion_tokens * self.usd_out) / _MILLION


@cache
def price_table() -> tuple[PriceRow, ...]:
    """The table that comes with the app."""
    return tuple(PriceRow(**row) for row in json.loads(_TABLE.read_text(encoding="utf-8")))


def price_of(teacher: TeacherConfig, table: Sequence[PriceRow] | None = None) -> Price | None:
    """What the teacher's tokens cost; None where nobody said.

    A model of this machine or of an address of the own network costs nothing. Where a teacher
    has several URLs, the dearest counts.
    """
    if teacher.price_in is not None and teacher.price_out is not None:
        return Price(
            usd_in=teacher.price_in, usd_out=teacher.price_out, source="the teacher's settings"
        )
    if teacher.kind is TeacherKind.LOCAL:
        return FREE
    rows = price_table() if table is None else table
    prices = [_at(url, teacher.model, rows) for url in teacher.urls]
    known = [price for price in prices if price is not None]
    if not known or len(known) < len(prices):
        return None
    return max(known, key=lambda price: price.usd_in + price.usd_out)


def tokens_in(characters: float) -> int:
    """About so many tokens."""
    return math.ceil(characters / CHARACTERS_A_TOKEN)


def estimate_usd(
    price: Price | None,
    *,
    requests: int,
    prompt_characters: float,
    completion_tokens: float,
) -> float | None:
    """About what a generation will cost; None where the price is unknown.

    Args:
        price: Of the teacher.
        requests: How many.
        prompt_characters: Of all prompts together, or those of one times `requests`.
        completion_tokens: Of one answer on average.
    """
    if price is None:
        return None
    return price.cost(tokens_in(prompt_characters), requests * completion_tokens)


FREE = Price(usd_in=0.0, usd_out=0.0, source="runs on your own machines", is_own=True)


def _at(url: str, model: str, rows: Sequence[PriceRow]) -> Price | None:
    host = (urlsplit(url).hostname or "").lower()
    if is_own_network(host):
        return FREE
    for row in rows:
        if row.host == host and fnmatchcase(model.lower(), row.model.lower()):
            return Price(usd_in=row.usd_in, usd_out=row.usd_out, source=row.source, as_of=row.as_of)
    return None


def is_own_network(host: str) -> bool:
    """True for this machine and for private addresses, where nobody sends a bill."""
    if host == "localhost" or host.endswith((".local", ".localhost")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and "." not in host  # a bare name is one of the own network
    return address.is_private or address.is_loopback
