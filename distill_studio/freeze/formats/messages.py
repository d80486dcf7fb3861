"""`messages`: the whole conversation with its answer, for SFT."""

from typing import Any

import pyarrow as pa

from distill_studio.core.records import Pair
from distill_studio.freeze.formats.turns import TURNS, answer_turn, turns
from distill_studio.freeze.options import FreezeOptions, shaped_answer, shaped_prompt

SCHEMA = pa.schema([("id", pa.string()), ("messages", TURNS)])


def to_row(pair: Pair, options: FreezeOptions) -> dict[str, Any]:
    """One training row."""
    prompt = turns(shaped_prompt(pair.messages, options))
    return {"id": pair.id, "messages": prompt + answer_turn(shaped_answer(pair, options))}
