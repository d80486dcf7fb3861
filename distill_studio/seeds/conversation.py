"""Foreign conversations (OpenAI `role`/`content`, ShareGPT `from`/`value`) to our messages."""

import json
from typing import Any

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.seed import ChatRole, Message
from distill_studio.seeds.json_text import describe

_ROLES: dict[str, ChatRole] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
}
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


class RowError(InvalidInput):
    """A row that reads well but cannot become a prompt or an answer; says why."""


def is_conversation(value: object) -> bool:
    """True for a list of turns with a speaker each (or JSON text of one)."""
    value = unpack(value)
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in value)
    )


def unpack(value: object) -> object:
    """The list or object inside a text that is JSON (CSV cells), else the value itself."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def to_messages(value: object, column: str) -> tuple[list[Message], str]:
    """(messages, reasoning of the last one) of a conversation.

    Raises:
        RowError: A turn has no known speaker or no text; says which.
    """
    turns = unpack(value)
    if not isinstance(turns, list) or not turns:
        raise RowError(f"'{column}' holds {describe(value)}, not a list of turns.")
    messages = [_message(turn, number, column) for number, turn in enumerate(turns, start=1)]
    last = turns[-1]
    reasoning = next((last[k] for k in _REASONING_KEYS if isinstance(last.get(k), str)), "")
    return messages, str(reasoning)


def text_of(value: object, column: str) -> str:
    """A cell as text; numbers are written out, nothing and NaN are ''.

    Raises:
        RowError: It holds a list or an object, or text that cannot be stored.
    """
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise RowError(f"'{column}' holds {describe(value)}, not text.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as err:
        raise RowError(
            f"'{column}' holds half a character (\\u{ord(value[err.start]):04x})."
        ) from err
    return value


def _message(turn: object, number: int, column: str) -> Message:
    if not isinstance(turn, dict):
        raise RowError(f"Turn {number} of '{column}' is {describe(turn)}, not an object.")
    speaker = turn.get("role", turn.get("from"))
    role = _ROLES.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        raise RowError(f"Turn {number} of '{column}' has the unknown speaker {speaker!r}.")
    content = _content(turn.get("content", turn.get("value")), number, column)
    if not content.strip() and role == "user":
        raise RowError(f"Turn {number} of '{column}' is empty.")
    return Message(role=role, content=content)


def _content(value: Any, number: int, column: str) -> str:  # noqa: ANN401  (any JSON value)
    where = f"{column}, turn {number}"
    if isinstance(value, list):  # OpenAI's parts
        parts = [p.get("text") if isinstance(p, dict) else p for p in value]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) < len(parts):
            raise RowError(f"Turn {number} of '{column}' holds something other than text.")
        return text_of("".join(texts), where)
    return text_of(value, where)
