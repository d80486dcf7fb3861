"""Judges' replies without their dress, so that patterns over them stay short and quick."""

import re

_DRESS = re.compile(r"""["'*`_“”]+""")
_BLANKS = re.compile(r"[^\S\n]+")
_BREAKS = re.compile(r" ?\n\s*")
MAX_CHARS = 50_000


def plain(text: str) -> str:
    """The text with emphasis, quotes and underscores as blanks, and each run of blanks as one."""
    shown = _DRESS.sub(" ", text[:MAX_CHARS])
    return _BREAKS.sub("\n", _BLANKS.sub(" ", shown)).strip()
