"""Judges' replies without their dress, so that patterns over them stay short and quick."""

import re
from typing import Any

from distill_studio.core.lenient_json import Ambiguous, Unreadable, read_json

_DRESS = re.compile(r"""["'*`_“”]+""")
_BLANKS = re.compile(r"[^\S\n]+")
_BREAKS = re.compile(r" ?\n\s*")
MAX_CHARS = 50_000


def plain(text: str) -> str:
    """The text with emphasis, quotes and underscores as blanks, and each run of blanks as one."""
    shown = _DRESS.sub(" ", text[:MAX_CHARS])
    return _BREAKS.sub("\n", _BLANKS.sub(" ", shown)).strip()


def read_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a reply, its names in lower case; None where there is none.

    Raises:
        Ambiguous: There are several that say different things.
    """
    try:
        value = read_json(text)
    except Ambiguous:
        raise
    except Unreadable:
        return None
    if not isinstance(value, dict):
        return None
    return {name.strip().lower(): inner for name, inner in value.items()}
