"""`preference`: one prompt, the chosen and the rejected answer, for DPO."""

from typing import Any

import pyarrow as pa

from distill_studio.core.records import Pair
from distill_studio.freeze.formats.turns import TURNS, answer_turn, turns
from distill_studio.freeze.options import FreezeOptions, shaped_answer, shaped_prompt

SCHEMA = pa.schema([("id", pa.string()), ("prompt", TURNS), ("chosen", TURNS), ("rejected", TURNS)])


def to_row(id_: str, chosen: Pair, rejected: Pair, options: FreezeOptions) -> dict[str, Any]:
    """One training row."""
    return {
        "id": id_,
        "prompt": turns(shaped_prompt(chosen.messages, options)),
        "chosen": answer_turn(shaped_answer(chosen, options)),
        "rejected": answer_turn(shaped_answer(rejected, options)),
    }
