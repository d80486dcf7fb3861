"""`unpaired`: a prompt, one answer, and whether people accepted it, for KTO."""

from typing import Any

import pyarrow as pa

from distill_studio.core.records import Pair, PairStatus
from distill_studio.freeze.formats.turns import TURNS, answer_turn, turns
from distill_studio.freeze.options import FreezeOptions, shaped_answer, shaped_prompt

SCHEMA = pa.schema([
    ("id", pa.string()),
    ("prompt", TURNS),
    ("completion", TURNS),
    ("label", pa.bool_()),
])


def to_row(pair: Pair, options: FreezeOptions) -> dict[str, Any]:
    """One training row; `label` is true for an accepted answer."""
    return {
        "id": pair.id,
        "prompt": turns(shaped_prompt(pair.messages, options)),
        "completion": answer_turn(shaped_answer(pair, options)),
        "label": pair.status is PairStatus.ACCEPTED,
    }
