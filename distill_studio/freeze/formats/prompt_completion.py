"""`prompt_completion`: the conversation so far and its answer apart; loss on the answer only."""

from typing import Any

import pyarrow as pa

from distill_studio.core.records import Pair
from distill_studio.freeze.formats.turns import TURNS, answer_turn, turns
from distill_studio.freeze.options import FreezeOptions, shaped_answer, shaped_prompt

SCHEMA = pa.schema([("id", pa.string()), ("prompt", TURNS), ("completion", TURNS)])


def to_row(pair: Pair, options: FreezeOptions) -> dict[str, Any]:
    """One training row."""
    return {
        "id": pair.id,
        "prompt": turns(shaped_prompt(pair.messages, options)),
        "completion": answer_turn(shaped_answer(pair, options)),
    }
