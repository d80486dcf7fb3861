"""Identifiers: UUIDv7 for rows (sorted by time of making), content hashes for equality of text."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import uuid_utils


def new_id() -> str:
    """A new UUIDv7 as 36 characters; later ids sort after earlier ones."""
    return str(uuid_utils.uuid7())


def content_hash(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces), as 64 hex digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def messages_hash(messages: Sequence[Any]) -> str:
    """Content hash of a conversation, from role and content alone."""
    return content_hash([[m.role, m.content] for m in messages])
