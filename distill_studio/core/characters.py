"""Texts of whole characters. Start at `whole`; `WholePieces` does it for a text in pieces.

What a server writes may hold half a character (a lone UTF-16 surrogate): an emoji cut at the token
limit, or split over two chunks. No file and no table takes that.
"""

import codecs
from typing import Annotated

from pydantic import AfterValidator

_CODEC = "utf-16-le"


def whole(text: str) -> str:
    """The text with two halves that belong together joined, and other halves as U+FFFD."""
    if text.isascii():
        return text
    return text.encode(_CODEC, "surrogatepass").decode(_CODEC, "replace")


WholeText = Annotated[str, AfterValidator(whole)]


class WholePieces:
    """Makes pieces of one text whole; a first half waits for the piece that may bring the other.

    What `push` and `rest` return joins to `whole` of the joined pieces.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder(_CODEC)("replace")

    def push(self, piece: str) -> str:
        """The text that is certain now."""
        return self._decoder.decode(piece.encode(_CODEC, "surrogatepass"))

    def rest(self) -> str:
        """What waited for a half that has not come."""
        return self._decoder.decode(b"", final=True)
