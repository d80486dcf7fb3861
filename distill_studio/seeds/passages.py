"""A document to passages that a teacher can read whole. Start: `split_passages`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_WORDS = 350  # unless the user chooses
_SMALL_TAIL = 5  # a last passage below a fifth of the limit joins the one before
# As `core.words` counts: each Chinese, Japanese or Korean character is a word.
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\s぀-ヿ㐀-鿿가-힯]+")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？][」』”]?\s*")
_HEADING = re.compile(r"#{1,6}\s")
_FENCE = re.compile(r"\s*(```|~~~)")


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a document, word for word.

    Args:
        text: Without white space around it.
        line: 1-based line of the document where it begins.
    """

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A paragraph or a part of one: where it stands and how many words it has."""

    start: int
    end: int
    words: int


def split_passages(text: str, max_words: int = MAX_WORDS) -> list[Passage]:
    """Whole paragraphs, as many as fit into `max_words`; nothing is lost or said twice.

    A heading stays with what it heads, and a block of code in one piece, where they fit. A longer
    paragraph is cut at sentence ends, a longer sentence between words. A last passage of less than
    a fifth of the limit joins the one before.
    """
    groups: list[list[_Piece]] = []
    size = 0
    for piece in _pieces(text, max_words):
        if groups and size + piece.words <= max_words:
            groups[-1].append(piece)
            size += piece.words
        else:
            groups.append([piece])
            size = piece.words
    if len(groups) > 1 and size * _SMALL_TAIL < max_words:
        tail = groups.pop()
        groups[-1] += tail
    return list(_passages(text, groups))


def count_words(text: str) -> int:
    """Words of a text, as passages are measured."""
    return sum(1 for _ in _WORD.finditer(text))


def _passages(text: str, groups: list[list[_Piece]]) -> Iterator[Passage]:
    line, position = 1, 0
    for group in groups:
        stretch = text[group[0].start : group[-1].end]
        start = group[0].start + len(stretch) - len(stretch.lstrip())
        line += text.count("\n", position, start)
        position = start
        yield Passage(stretch.strip(), line)


def _pieces(text: str, max_words: int) -> Iterator[_Piece]:
    for start, end in _paragraphs(text):
        words = count_words(text[start:end])
        if words <= max_words:
            yield _Piece(start, end, words)
        else:
            yield from _sentences(text, start, end, max_words)


def _sentences(text: str, start: int, end: int, max_words: int) -> Iterator[_Piece]:
    """Sentences of a paragraph that is too long."""
    stops = [match.end() for match in _SENTENCE_END.finditer(text, start, end)]
    for stop in (*stops, end):
        words = list(_WORD.finditer(text, start, stop))
        for first in range(0, len(words), max_words):
            rest = words[first : first + max_words]
            begin = start if first == 0 else rest[0].start()
            yield _Piece(begin, rest[-1].end(), len(rest))
        start = stop


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Spans between blank lines; a heading takes the paragraph after it, code is one paragraph."""
    position, start, end = 0, -1, 0
    fence, is_heading = "", False
    for line in text.splitlines(keepends=True):
        if line.strip() or fence:
            if start < 0:
                start, is_heading = position, True
            is_heading = is_heading and bool(_HEADING.match(line))
            end = position + len(line)
            fence = _fence_after(line, fence)
        elif start >= 0 and not is_heading:
            yield start, end
            start = -1
        position += len(line)
    if start >= 0:
        yield start, end


def _fence_after(line: str, fence: str) -> str:
    match = _FENCE.match(line)
    if match is None or (fence and match[1] != fence):
        return fence
    return "" if fence else match[1]
