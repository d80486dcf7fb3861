"""A topic's outline: titles out of a list, the places in the tree, and what of it was made.

Start from `read_titles` and `Leaf`; `coverage` says what is missing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_studio.core.words import words
from distill_studio.generate.asides import SAME
from distill_studio.generate.novelty import Pool
from distill_studio.generate.text_lists import read_list

_MOST_WORDS = 15
_TOPIC_CHARS = 120
_NUMBERED = re.compile(
    r"\A(?:chapter|section|subtopic|part|unit|topic|lesson|title)\s*\d*(?:\.\d+)*\s*[:.–—-]+\s*",
    re.IGNORECASE,
)
_REMARK = re.compile(r"\s*[:：]\s|\s+[-–—]\s|\*\*\s*[:：]?|[:：]\s*\Z")
_LETTER = re.compile(r"[^\W_]")
_EDGES = " \t.,;:*_#\"'`“”"


@dataclass(frozen=True)
class Leaf:
    """A subtopic that gets a section."""

    place: str  # in the outline: "2", or "2.1" at the second level
    path: tuple[str, ...]  # from the topic down

    @property
    def title(self) -> str:
        """The subtopic itself."""
        return self.path[-1]

    @property
    def above(self) -> str:
        """What it is a part of."""
        return ": ".join(self.path[:-1])

    @property
    def topic(self) -> str:
        """The path as a topic label."""
        return " / ".join(self.path)


def topic_of(prompt: str) -> str:
    """A seed's prompt as a topic: one line, without a full stop, not too long for a label."""
    flat = " ".join(prompt.replace(" / ", "/").split()).rstrip(".")
    return flat if len(flat) <= _TOPIC_CHARS else flat[: _TOPIC_CHARS - 1].rstrip() + "…"


def read_titles(
    text: str, count: int, others: Sequence[str], *, is_cut: bool = False
) -> dict[int, str]:
    """The first `count` titles of a list that differ from each other, by their place in it from 1.

    Args:
        text: The reply.
        count: So many at most.
        others: Titles that may not come again.
        is_cut: True when the reply ended at its token limit.

    Raises:
        Unreadable: There is no list.
    """
    pool = Pool(others)
    found: dict[int, str] = {}
    for place, item in enumerate(read_list(text, is_cut=is_cut), start=1):
        title = _title(item)
        is_title = bool(_LETTER.search(title)) and len(words(title)) <= _MOST_WORDS
        if is_title and len(found) < count and pool.admit(title, SAME).is_new:
            found[place] = title
    return found


def coverage(asked: int, leaves: Sequence[Leaf], lost: Mapping[str, str]) -> dict[str, Any]:
    """Which subtopics have a section: for the provenance of each pair.

    Args:
        asked: How many subtopics were to be found.
        leaves: Those that were.
        lost: Place of a leaf without a section, and why.
    """
    return {
        "asked": asked,
        "found": len(leaves),
        "made": len(leaves) - len(lost),
        "missing": {leaf.topic: lost[leaf.place] for leaf in leaves if leaf.place in lost},
    }


def _title(item: str) -> str:
    """A title without its number, bold, and what is remarked on it after a colon or a dash."""
    line = item.strip().splitlines()[0].strip(_EDGES)
    line = _NUMBERED.sub("", line)
    title = _REMARK.split(line, maxsplit=1)[0]
    return " ".join(title.replace(" / ", "/").split()).strip(_EDGES)
