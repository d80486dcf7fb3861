"""Texts as the words that leaks are looked for in, and the shared words marked for people."""

import re
import unicodedata
from collections.abc import Sequence

from distill_studio.curate.diff import Piece

COVER = 8  # words in a row that count towards an item's coverage

# Letters and digits; signs and Markdown fall away. Han and Kana count one by one: no spaces there.
_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")
# Signs nobody sees that would tear a word in two: soft hyphen, zero-width ones, byte order mark.
_UNSEEN = dict.fromkeys([0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])


def seen_text(text: str) -> str:
    """The text as it is compared and shown: NFKC, without signs that nobody sees."""
    return unicodedata.normalize("NFKC", text).translate(_UNSEEN)


def leak_words(text: str) -> list[str]:
    """The words of a text without their case; punctuation and white space make no difference."""
    return [word.casefold() for word in _WORD.findall(seen_text(text))]


def ngrams(words: Sequence[str], size: int) -> set[tuple[str, ...]]:
    """All runs of `size` words."""
    return {tuple(words[k : k + size]) for k in range(len(words) - size + 1)}


def mark_shared(text: str, other: str) -> list[Piece]:
    """A text with the words marked (`both`) that it has in common with another one.

    Common are runs of 8 words; where either text has fewer, all of it if the other holds it.
    """
    shown = seen_text(text)
    spans = [match.span() for match in _WORD.finditer(shown)]
    words = [shown[a:b].casefold() for a, b in spans]
    others = leak_words(other)
    size = min(COVER, len(words), len(others))
    marked = covered(words, ngrams(others, size), size) if size else [False] * len(words)
    pieces: list[Piece] = []
    at = 0
    for first, last in runs(marked):
        start, stop = spans[first][0], spans[last - 1][1]
        pieces += [Piece("left", shown[at:start]), Piece("both", shown[start:stop])]
        at = stop
    return [piece for piece in [*pieces, Piece("left", shown[at:])] if piece.text]


def covered(words: Sequence[str], grams: set[tuple[str, ...]], size: int) -> list[bool]:
    """For each word whether it lies in one of the runs of `size` words."""
    marked = [False] * len(words)
    for k in range(len(words) - size + 1):
        if tuple(words[k : k + size]) in grams:
            marked[k : k + size] = [True] * size
    return marked


def runs(marked: Sequence[bool]) -> list[tuple[int, int]]:
    """The marked stretches as (first, one past the last)."""
    found: list[tuple[int, int]] = []
    for k, is_marked in enumerate(marked):
        if is_marked and (k == 0 or not marked[k - 1]):
            found.append((k, k + 1))
        elif is_marked:
            found[-1] = (found[-1][0], k + 1)
    return found
