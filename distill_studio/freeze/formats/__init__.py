"""How rows look outside: `FORMATS` of snapshots, `STYLES` of exported pairs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from distill_studio.core.records import Pair
from distill_studio.freeze.formats import (
    alpaca,
    messages,
    preference,
    prompt_completion,
    sharegpt,
    unpaired,
)
from distill_studio.freeze.options import FreezeOptions


@dataclass(frozen=True)
class PairFormat:
    """Columns, and how a pair becomes a row of them."""

    schema: pa.Schema
    to_row: Callable[[Pair, FreezeOptions], dict[str, Any]]


PREFERENCE = "preference"
UNPAIRED = "unpaired"
FORMATS: dict[str, pa.Schema] = {
    "messages": messages.SCHEMA,
    "prompt_completion": prompt_completion.SCHEMA,
    PREFERENCE: preference.SCHEMA,
    UNPAIRED: unpaired.SCHEMA,
}
STYLES: dict[str, PairFormat] = {
    "messages": PairFormat(messages.SCHEMA, messages.to_row),
    "prompt_completion": PairFormat(prompt_completion.SCHEMA, prompt_completion.to_row),
    "alpaca": PairFormat(alpaca.SCHEMA, alpaca.to_row),
    "sharegpt": PairFormat(sharegpt.SCHEMA, sharegpt.to_row),
}
