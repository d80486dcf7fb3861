"""One answer cut by two tokenizers: where their tokens end together. Torch-free.

Start at `make_aligner(config, ours)`, called with a row. Each model reads the conversation by its
own chat template; the answers' text is the same in both, so a span is the shortest stretch of the
student's tokens and of the teacher's that write the same characters. The tokens that end a turn,
whatever they are called, are in a span of their own.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import LogitRun, learned_turns
from distill_studio.distill.data import Row, answer_turns, end_turn
from distill_studio.distill.estimate import model_facts
from distill_studio.distill.reasoning import mixed

MOST_TOKENS = 16  # of a span on either side; a longer one's first token says nothing of its last


@dataclass(frozen=True)
class AlignedRow:
    """A row as the teacher reads it, and where both say the same."""

    teacher_ids: list[int]  # up to the last span; [] where there is none
    # Per span: number of its first token among the student's learned ones, how many they are;
    # index of its first token in `teacher_ids`, how many these are.
    spans: list[list[int]]

    @property
    def aligned(self) -> int:
        """Learned tokens of the student that are in a span."""
        return sum(count for _, count, *_ in self.spans)


@dataclass(frozen=True)
class _Answer:
    """An answer by one tokenizer; the characters of `text` are counted from its first letter on."""

    at: int  # index of its first token in the row
    tokens: int  # end of turn included
    text: str
    ends: list[int | None]  # of each token in `text`; None where the next one begins before it
    has_end: bool  # its last token ends the turn and writes no text


class Aligner:
    """Lays a row's answers by the teacher's tokenizer beside those by the student's.

    Args:
        ours: The student's tokenizer.
        theirs: The teacher's.
        learn: Which assistant turns are learned.
        max_length: Tokens after which the student's row is cut.
        context: Most tokens that the teacher reads; 0 = unknown.
    """

    def __init__(
        self,
        ours: ChatTokenizer,
        theirs: ChatTokenizer,
        *,
        learn: Literal["last", "all"] = "all",
        max_length: int,
        context: int = 0,
    ) -> None:
        self._ours, self._theirs, self._learn = ours, theirs, learn
        self._most = (max_length, context or math.inf)

    def __call__(self, row: Row) -> AlignedRow:
        """Align a row.

        Raises:
            InvalidInput: A template cannot render it with a certain mask, see `encode_sft`.
        """
        _, ours = _answers(self._ours, row, self._learn)
        ids, theirs = _answers(self._theirs, row, self._learn)
        found: list[list[int]] = []
        learned = 0 if not ours or ours[0].at else -1  # nothing predicts a row's first token
        for one, other in zip(ours, theirs, strict=True):
            for start, stop, first, last in _spans(one, other):
                is_read = (
                    one.at + start > 0
                    and one.at + stop <= self._most[0]
                    and other.at + first > 0
                    and other.at + last <= self._most[1]
                )
                if is_read and max(stop - start, last - first) <= MOST_TOKENS:
                    found.append([learned + start, stop - start, other.at + first, last - first])
            learned += one.tokens
        end = found[-1][2] + found[-1][3] if found else 0
        return AlignedRow(ids[:end], found)


def make_aligner(config: LogitRun, ours: ChatTokenizer) -> Callable[[Row], AlignedRow]:
    """Aligns rows as this run learns them, with the reasoning that it leaves them."""
    folder = Path(config.teacher.folder)
    aligner = Aligner(
        ours,
        ChatTokenizer.load(folder),
        learn=learned_turns(config),
        max_length=config.max_length,
        context=model_facts(folder).context,
    )
    return lambda row: aligner(mixed(ours, config, row)[0])


def _answers(
    chat: ChatTokenizer, row: Row, learn: Literal["last", "all"]
) -> tuple[list[int], list[_Answer]]:
    """(token ids of a row, its learned answers), as `encode_sft` cuts it."""
    row_ids: list[int] = []
    found = []
    for context, answer in answer_turns(chat, row, learn):
        row_ids += chat.encode(context)
        ids, places = chat.encode_with_places(answer)
        tokens = len(end_turn(chat, ids)[0])
        found.append(_answer(chat, len(row_ids), answer, ids, places, tokens))
        row_ids += ids
    return row_ids, found


def _answer(
    chat: ChatTokenizer,
    at: int,
    text: str,
    ids: list[int],
    places: list[tuple[int, int]],
    tokens: int,
) -> _Answer:
    has_end = tokens > 0 and chat.is_special(ids[tokens - 1])
    body = text[: places[tokens - 1][0 if has_end else 1]] if tokens else ""
    lead = len(body) - len(body.lstrip())
    starts = [start for start, _ in places[1:]] + [len(text)]
    ends = [
        end - lead if starts[number] >= end else None
        for number, (_, end) in enumerate(places[:tokens])
    ]
    return _Answer(at, tokens, body[lead:], ends, has_end)


def _spans(ours: _Answer, theirs: _Answer) -> Iterator[tuple[int, int, int, int]]:
    """First token and last + 1 on the student's side, then on the teacher's, span by span."""
    unlike = (
        n for n, pair in enumerate(zip(ours.text, theirs.text, strict=False)) if pair[0] != pair[1]
    )
    common = next(unlike, min(len(ours.text), len(theirs.text)))
    is_whole = not (ours.text[common:] + theirs.text[common:]).strip()
    is_ended = is_whole and ours.has_end and theirs.has_end
    one, other = (_last_tokens(answer, common, is_ended=is_ended) for answer in (ours, theirs))
    start = first = 0
    for place in sorted(one.keys() & other.keys()):
        stop, last = one[place] + 1, other[place] + 1
        yield start, stop, first, last
        start, first = stop, last


def _last_tokens(answer: _Answer, common: int, *, is_ended: bool) -> dict[float, int]:
    """Place in the text -> number of the last token that ends there."""
    body = answer.ends[:-1] if answer.has_end else answer.ends
    found: dict[float, int] = {
        end: number for number, end in enumerate(body) if end is not None and 0 < end <= common
    }
    if is_ended:
        found[math.inf] = answer.tokens - 1
    return found
