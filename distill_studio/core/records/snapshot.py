"""A snapshot: an immutable, hashed export of chosen rows, from which alone training reads."""

from datetime import datetime
from typing import Any

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now


class Snapshot(Record):
    """A frozen dataset in `<workspace>/snapshots/<name>/` (Parquet splits and manifest.json)."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    name: str = Field(min_length=1, max_length=100, description="Folder name; unique.")
    format: str = Field(description="messages, prompt_completion, preference, unpaired.")
    content_hash: str = Field(description="Hash of the rows; same input, same hash.")
    train_rows: int = Field(ge=0, description="Rows in the train split.")
    validation_rows: int = Field(ge=0, description="Rows in the validation split.")
    manifest: dict[str, Any] = Field(default_factory=dict, description="Copy of manifest.json.")
    user: str = Field(default="", description="Who froze it.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")
