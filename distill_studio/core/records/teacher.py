"""How to reach a teacher. Never holds a key: only the name of the variable that does."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now


class TeacherKind(StrEnum):
    """Which adapter answers."""

    LOCAL = "local"
    OPENAI = "openai"


class TeacherConfig(Record):
    """A teacher as the user configured it."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    name: str = Field(min_length=1, max_length=200, description="Shown in lists; unique.")
    kind: TeacherKind = Field(description="local (transformers in this process) or openai.")
    model: str = Field(min_length=1, description="Model id, local folder or the server's name.")
    base_url: str = Field(default="", description="For openai: URL ending in /v1.")
    base_urls: tuple[str, ...] = Field(
        default=(), description="More URLs that serve the same model; requests are shared out."
    )
    key_env: str = Field(default="", description="Environment variable that holds the key.")
    needs_key: bool = Field(default=False, description="True when a session key was given.")
    concurrency: int = Field(default=8, ge=1, le=1024, description="Requests in flight.")
    timeout_s: float = Field(default=120.0, gt=0, description="Per request.")
    max_retries: int = Field(default=4, ge=0, le=20, description="After a retryable failure.")
    requests_per_min: int = Field(default=0, ge=0, description="Sent at most; 0 = no limit.")
    tokens_per_min: int = Field(
        default=0, ge=0, description="Read and written at most, about; 0 = no limit."
    )
    price_in: float | None = Field(
        default=None, ge=0, description="USD per million tokens read; None = by the price table."
    )
    price_out: float | None = Field(
        default=None, ge=0, description="USD per million tokens written; None = by the price table."
    )
    spend_limit_usd: float = Field(
        default=0.0, ge=0, description="Most that one generation may cost; 0 = no limit."
    )
    licence_note: str = Field(
        default="", description="What the teacher's terms say of training on its outputs."
    )
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")

    @property
    def urls(self) -> tuple[str, ...]:
        """Every URL that serves it, each once, the main one first."""
        return tuple(dict.fromkeys(url for url in (self.base_url, *self.base_urls) if url))
