"""Unsloth: rows in TRL's conversational forms, `settings.json`, and the script that reads both.

The script is `assets/neighbours/unsloth_train.py`, the same for every snapshot. Read off Unsloth
2026.8.19 (commit 015bdef) and unsloth_zoo 2026.8.13 (commit ce232d6): `train_on_responses_only` in
`unsloth_zoo/dataset_utils.py` finds a template's marks where none are given, and learns the last
answer alone with `last_response_only`. Unsloth wants TRL from 0.18.2 to 0.24 (`pyproject.toml`).
"""

import json
from pathlib import Path

from distill_studio.freeze.neighbours.settings import Bundle, Row

SCRIPT = "train.py"
SETTINGS = "settings.json"
_SOURCE = Path(__file__).resolve().parents[3] / "assets" / "neighbours" / "unsloth_train.py"


def to_row(row: Row) -> Row:
    """A row as the script reads it: conversations whole for SFT, TRL's columns otherwise."""
    if "completion" in row and "label" not in row:
        return {"id": row["id"], "messages": [*row["prompt"], *row["completion"]]}
    return row


def problem(row: Row) -> str:
    """Why Unsloth would not take a row; it takes what the model's template takes."""
    return ""


def files(bundle: Bundle) -> dict[str, str]:
    """The files beside the rows, by name."""
    settings = json.dumps(bundle.settings.model_dump(mode="json"), indent=2)
    return {SCRIPT: _SOURCE.read_text(encoding="utf-8"), SETTINGS: settings}
