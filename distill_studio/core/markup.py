"""Outside text made harmless for HTML. The one function for it; `ui/html.py` builds on it."""

import html
from typing import Any


def esc(value: Any, limit: int | None = None) -> str:  # noqa: ANN401  (anything printable)
    """A value as escaped text, cut to `limit` characters with an ellipsis."""
    text = "" if value is None else str(value)
    if limit is not None and len(text) > limit:
        text = text[: limit - 1].rstrip() + "…"
    return html.escape(text, quote=True)
