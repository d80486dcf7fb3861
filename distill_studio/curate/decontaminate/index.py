"""The words of a benchmark, looked up row by row. Start from `LeakIndex.check`.

Most rows share nothing with a benchmark, so a batch is first asked as a whole: its 8-grams, hashed
with NumPy, against the benchmark's. Each rule implies a shared 8-gram, and a count of shared places
bounds what a row can cover; only what passes is compared word by word. So hashes that collide cost
time and never make a hit, and memory grows with the benchmark and the batch, not with the rows.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from distill_studio.curate.decontaminate.words import COVER, covered, leak_words, ngrams, runs
from distill_studio.curate.text import normalise

RUN = 13  # words in a row that are a hit by themselves
COVERAGE = 0.5  # more than this share of an item, covered by 8-grams of one row, is a hit
SHORT_LINE = 5  # words from which on a short question is also found as a line of a prompt
SHORT_ANSWER = 6  # a known answer of fewer words ("B", "42") says nothing when it stands alone
_LABEL = re.compile(
    r"^\W*(?:(?:question|problem|q)\b[\s.#]*\d*\s*[:.)]|\d{1,4}\s*[.):])\s*", re.IGNORECASE
)
_LABEL_ROOM = 40  # signs that a label may have
_PARAGRAPH = re.compile(r"\n\s*\n")
_CHOICES = re.compile(r"\s(?=\(?A[.):]\s)")  # where the choices, or the answer, begin in the line
# Such a question is nothing without its choices: all kinds of tests ask it.
_OF_CHOICES = re.compile(
    r"\b(?:which|what|who)\b.*\b(?:of|among) (?:the following|the above|these|those)\b",
    re.IGNORECASE,
)
_MARKS = " \t\n*_#>`•-"  # Markdown around a line
_MANY = 400  # words of evidence kept with a hit
_COMMON, _COMMON_SHARE = 3, 0.02  # items with the same wording, from which on it is a template

IntArray = npt.NDArray[np.int64]
HashArray = npt.NDArray[np.uint64]
BoolArray = npt.NDArray[np.bool_]
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Rule(StrEnum):
    """Why a row counts as leaked, the strongest first."""

    EXACT = "exact"
    NGRAM = "ngram"
    COVERAGE = "coverage"


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark with its known answer, if it has one."""

    prompt: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class RowTexts:
    """What of a row is looked at: each turn of its prompt, its answer, its reasoning."""

    id: str
    turns: tuple[str, ...]
    answer: str
    reasoning: str = ""

    def sides(self) -> list[tuple[str, str]]:
        """(side, text) of all three; the prompt's turns are one text."""
        prompt = "\n\n".join(self.turns)
        return [("prompt", prompt), ("answer", self.answer), ("reasoning", self.reasoning)]


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that holds an item, with the evidence.

    coverage: share of the item's text (question or answer) whose words lie in shared 8-grams.
    shared: the item's shared stretches, the longest first, in words without case.
    """

    row: str
    item: int
    rule: Rule
    item_side: str
    row_side: str
    coverage: float
    shared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Text:
    item: int
    side: str
    words: tuple[str, ...]


class LeakIndex:
    """All texts of a benchmark, ready to be found in rows.

    Args:
        items: Its items.
        is_own: They were made as the rows were, by the same recipes. Runs of 8 words that many of
            the items have in common are a recipe's wording then, and count for nothing.
    """

    def __init__(self, items: Sequence[Item], *, is_own: bool = False) -> None:
        self._fewest = max(_COMMON, round(_COMMON_SHARE * len(items))) if is_own else 0
        self._common: set[tuple[str, ...]] = set()
        self._texts: list[_Text] = []
        self._exact: defaultdict[str, list[int]] = defaultdict(list)
        self._lines: defaultdict[str, list[int]] = defaultdict(list)
        self._longest_line = 0
        for number, item in enumerate(items):
            self._add(number, "prompt", item.prompt)
            self._add(number, "answer", item.answer)
        self._vocabulary: dict[str, int] = {}
        for text in self._long():
            for word in text.words:
                self._vocabulary.setdefault(word, len(self._vocabulary))
        self._index_grams()

    def check(self, rows: Sequence[RowTexts]) -> list[Hit]:
        """The hits of a batch of rows; of a row and an item only the strongest."""
        best: dict[tuple[str, int], Hit] = {}
        for hit in [*self._same(rows), *self._overlaps(rows)]:
            known = best.get((hit.row, hit.item))
            if known is None or _strength(hit) > _strength(known):
                best[hit.row, hit.item] = hit
        return sorted(best.values(), key=lambda hit: (hit.row, hit.item))

    # -- building -------------------------------------------------------------------------

    def _add(self, item: int, side: str, text: str) -> None:
        words = tuple(leak_words(text))
        is_said = bool(text.strip()) if side == "prompt" else len(words) >= SHORT_ANSWER
        if len(words) < RUN and is_said:
            self._exact[normalise(text)].append(len(self._texts))
            if side == "prompt" and len(words) >= SHORT_LINE and not _OF_CHOICES.search(text):
                self._lines[normalise(text)].append(len(self._texts))
                self._longest_line = max(self._longest_line, len(text))
        self._texts.append(_Text(item, side, words))

    def _long(self) -> list[_Text]:
        return [text for text in self._texts if len(text.words) >= RUN]

    def _index_grams(self) -> None:
        """Hash of every 8-gram, sorted, with the text it stands in (once per place)."""
        texts = [k for k, text in enumerate(self._texts) if len(text.words) >= RUN]
        ids, owner = self._ids([self._texts[k].words for k in texts])
        starts = _windows(ids, owner)
        hashes, places = _hashes(ids, starts), np.array(texts, np.int64)[owner[starts]]
        if self._fewest:
            is_rare = self._rare(hashes, places, starts, owner, texts)
            hashes, places = hashes[is_rare], places[is_rare]
        order = np.argsort(hashes, kind="stable")
        self._hashes, first = np.unique(hashes[order], return_index=True)
        self._bounds = np.append(first, len(order)).astype(np.int64)
        self._places: IntArray = places[order]
        self._lengths: IntArray = np.array([len(t.words) for t in self._texts], np.int64)

    def _rare(
        self,
        hashes: HashArray,
        places: IntArray,
        starts: IntArray,
        owner: IntArray,
        texts: Sequence[int],
    ) -> BoolArray:
        """Which 8-grams stand in fewer texts than a template; the others become `_common`."""
        order = np.lexsort((places, hashes))
        grams, in_text = hashes[order], places[order]
        is_new_gram = np.concatenate([[True], grams[1:] != grams[:-1]])[: len(grams)]
        is_new_text = (
            is_new_gram | np.concatenate([[True], in_text[1:] != in_text[:-1]])[: len(grams)]
        )
        number = np.cumsum(is_new_gram) - 1
        spread = np.bincount(number, weights=is_new_text)[number] if len(grams) else grams
        is_rare = np.ones(len(hashes), bool)
        is_rare[order] = spread < self._fewest
        begins = np.searchsorted(owner, np.arange(len(texts)))
        for k in np.flatnonzero(~is_rare).tolist():
            text = owner[starts[k]]
            first = int(starts[k] - begins[text])
            self._common.add(self._texts[texts[text]].words[first : first + COVER])
        return is_rare

    def _ids(self, texts: Sequence[Sequence[str]]) -> tuple[IntArray, IntArray]:
        """(number of each word, -1 for a foreign one; which text it stands in), end to end."""
        known = self._vocabulary.get
        ids = np.fromiter((known(w, -1) for words in texts for w in words), np.int64)
        return ids, np.repeat(np.arange(len(texts)), [len(words) for words in texts])

    # -- looking --------------------------------------------------------------------------

    def _same(self, rows: Sequence[RowTexts]) -> list[Hit]:
        found: list[Hit] = []
        if not self._exact:
            return found
        for row in rows:
            whole = [("prompt", turn) for turn in row.turns] + row.sides()
            for side, text in whole:
                if text.strip():
                    found += self._exact_hits(row.id, side, self._exact.get(normalise(text), ()))
            for turn in row.turns if self._lines else ():
                for piece in self._pieces(turn):
                    asked = self._lines.get(piece, ())
                    if len(asked) == 1:  # what several items ask is none of them without its rest
                        found += self._exact_hits(row.id, "prompt", asked)
        return found

    def _exact_hits(self, row: str, side: str, texts: Sequence[int]) -> list[Hit]:
        of = [self._texts[number] for number in texts]
        return [
            Hit(row, one.item, Rule.EXACT, one.side, side, 1.0, (" ".join(one.words),))
            for one in of
        ]

    def _pieces(self, turn: str) -> set[str]:
        """The lines and paragraphs of a prompt that may be a short question, without a label.

        A question is trained on with its choices below it, its label ("Question:", "3.") before it.
        """
        limit = 2 * self._longest_line + _LABEL_ROOM  # spaces and signs may be more than the item's
        pieces = {*turn.splitlines(), *_PARAGRAPH.split(turn)}
        pieces |= {_CHOICES.split(piece, maxsplit=1)[0] for piece in pieces}
        short = (piece for piece in pieces if len(piece) <= limit)
        return {normalise(_LABEL.sub("", piece.strip(_MARKS)).strip(_MARKS)) for piece in short}

    def _overlaps(self, rows: Sequence[RowTexts]) -> list[Hit]:
        if not len(self._hashes):
            return []
        sides = [(row, side, leak_words(text)) for row in rows for side, text in row.sides()]
        found: list[Hit] = []
        grams: dict[int, tuple[set[tuple[str, ...]], set[tuple[str, ...]]]] = {}
        for side_no, text_no in self._suspects([words for _, _, words in sides]):
            row, side, words = sides[side_no]
            if side_no not in grams:
                grams[side_no] = ngrams(words, COVER) - self._common, self._runs(words)
            hit = _compare(row.id, side, self._texts[text_no], *grams[side_no])
            if hit is not None:
                found.append(hit)
        return found

    def _runs(self, words: Sequence[str]) -> set[tuple[str, ...]]:
        """Runs of 13 words, those aside that hold a common run of 8."""
        found = ngrams(words, RUN)
        if not self._common:
            return found
        inside = range(RUN - COVER + 1)
        return {run for run in found if not any(run[k : k + COVER] in self._common for k in inside)}

    def _suspects(self, texts: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
        """(row's text, benchmark's text) that share enough 8-grams to be a hit by some rule."""
        ids, owner = self._ids(texts)
        starts = _windows(ids, owner)
        hashes = _hashes(ids, starts)
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        is_known = self._hashes[at] == hashes
        of_row = owner[starts[is_known]]
        key = np.unique(of_row * len(self._hashes) + at[is_known])  # each gram of a row once
        of_row, at = np.divmod(key, len(self._hashes))
        counts = self._bounds[at + 1] - self._bounds[at]
        shift = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        text = self._places[np.repeat(self._bounds[at], counts) + shift]
        pair, places = np.unique(
            np.repeat(of_row, counts) * len(self._texts) + text, return_counts=True
        )
        side_no, text_no = np.divmod(pair, len(self._texts))
        can_run = places >= RUN - COVER + 1
        can_cover = places * COVER > COVERAGE * self._lengths[text_no]
        is_suspect = can_run | can_cover
        return list(zip(side_no[is_suspect].tolist(), text_no[is_suspect].tolist(), strict=True))


def _compare(
    row: str, side: str, text: _Text, eights: set[tuple[str, ...]], runs_13: set[tuple[str, ...]]
) -> Hit | None:
    """The rules themselves, on words."""
    marked = covered(text.words, eights, COVER)
    coverage = sum(marked) / len(text.words)
    if not ngrams(text.words, RUN).isdisjoint(runs_13):
        rule = Rule.NGRAM
    elif coverage > COVERAGE:
        rule = Rule.COVERAGE
    else:
        return None
    stretches = sorted(runs(marked), key=lambda run: (run[0] - run[1], run[0]))
    shared = tuple(" ".join(text.words[a:b][:_MANY]) for a, b in stretches[:5])
    return Hit(row, text.item, rule, text.side, side, coverage, shared)


def _strength(hit: Hit) -> tuple[int, float]:
    return -list(Rule).index(hit.rule), hit.coverage


def _windows(ids: IntArray, owner: IntArray) -> IntArray:
    """Where 8 words begin that all are the benchmark's and stand in one text."""
    if len(ids) < COVER:
        return np.zeros(0, np.int64)
    foreign = np.concatenate([[0], np.cumsum(ids < 0)])
    is_ours = foreign[COVER:] == foreign[:-COVER]
    is_one = owner[COVER - 1 :] == owner[: len(owner) - COVER + 1]
    return np.flatnonzero(is_ours & is_one)


def _hashes(ids: IntArray, starts: IntArray) -> HashArray:
    """64-bit hash of the 8 words from each start."""
    total = np.zeros(len(starts), np.uint64)
    for k in range(COVER):
        value = ids[starts + k].astype(np.uint64) + np.uint64(1)
        value = (value ^ (value >> np.uint64(7))) * np.uint64(0xBF58476D1CE4E5B9)
        total = total * _BASE + (value ^ (value >> np.uint64(29)))
    return total
