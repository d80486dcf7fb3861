"""What pre-flight has to say, one thing at a time. Torch-free."""

from typing import Literal

from pydantic import Field

from distill_studio.core.records.base import Record

Level = Literal["error", "warning", "info"]


class Finding(Record):
    """One thing to know before starting. An error refuses."""

    level: Level = Field(description="error, warning or info.")
    code: str = Field(description="Stable name.")
    message: str = Field(description="What is so.")
    hint: str = Field(default="", description="The way out.")
