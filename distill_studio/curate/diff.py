"""What differs between two texts, word by word."""

import difflib
import re
from typing import Literal, NamedTuple

_PIECES = re.compile(r"\s+|\w+|[^\w\s]", re.UNICODE)
MAX_PIECES = 6000  # difflib takes seconds beyond; the rest is shown as it is


class Piece(NamedTuple):
    """A run of text: in both, only in the left, or only in the right one."""

    where: Literal["both", "left", "right"]
    text: str


def word_diff(left: str, right: str) -> list[Piece]:
    """The two texts as runs that are common or belong to one side.

    Joining `both` and `left` pieces gives the left text again, `both` and `right` the right one,
    except that texts longer than `MAX_PIECES` words are compared up to there.
    """
    a, b = _PIECES.findall(left)[:MAX_PIECES], _PIECES.findall(right)[:MAX_PIECES]
    found: list[Piece] = []
    for tag, a0, a1, b0, b1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(Piece("both", "".join(a[a0:a1])))
            continue
        if a1 > a0:
            found.append(Piece("left", "".join(a[a0:a1])))
        if b1 > b0:
            found.append(Piece("right", "".join(b[b0:b1])))
    return found
