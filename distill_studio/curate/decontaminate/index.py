"""The words of a benchmark, looked up row by row. Start from `LeakIndex.check`.

Most rows share nothing with a benchmark, so a batch is first asked as a whole: its 8-grams, hashed
with NumPy, against the benchmark's. Each rule implies a shared 8-gram, and a count of shared places
bounds what a row can cover; only what passes is compared word by word. So hashes that collide cost
time and never make a hit, and memory grows with the benchmark and the batch, not with the rows.
"""

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
SHORT_ANSWER = 6  # a known answer of fewer words ("B", "42") says nothing when it stands alone
_MANY = 400  # words of evidence kept with a hit

IntArray = npt.NDArray[np.int64]
HashArray = npt.NDArray[np.uint64]
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
    """All texts of a benchmark, ready to be found in rows."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._texts: list[_Text] = []
        self._exact: defaultdict[str, list[int]] = defaultdict(list)
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
        self._texts.append(_Text(item, side, words))

    def _long(self) -> list[_Text]:
        return [text for text in self._texts if len(text.words) >= RUN]

    def _index_grams(self) -> None:
        """Hash of every 8-gram, sorted, with the text it stands in (once per place)."""
        texts = [k for k, text in enumerate(self._texts) if len(text.words) >= RUN]
        ids, owner = self._ids([self._texts[k].words for k in texts])
        starts = _windows(ids, owner)
        hashes, places = _hashes(ids, starts), np.array(texts, np.int64)[owner[starts]]
        order = np.argsort(hashes, kind="stable")
        self._hashes, first = np.unique(hashes[order], return_index=True)
        self._bounds = np.append(first, len(order)).astype(np.int64)
        self._places: IntArray = places[order]
        self._lengths: IntArray = np.array([len(t.words) for t in self._texts], np.int64)

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
                if not text.strip():
                    continue
                for number in self._exact.get(normalise(text), ()):
                    of = self._texts[number]
                    shared = (" ".join(of.words),)
                    found.append(Hit(row.id, of.item, Rule.EXACT, of.side, side, 1.0, shared))
        return found

    def _overlaps(self, rows: Sequence[RowTexts]) -> list[Hit]:
        if not len(self._hashes):
            return []
        sides = [(row, side, leak_words(text)) for row in rows for side, text in row.sides()]
        found: list[Hit] = []
        grams: dict[int, tuple[set[tuple[str, ...]], set[tuple[str, ...]]]] = {}
        for side_no, text_no in self._suspects([words for _, _, words in sides]):
            row, side, words = sides[side_no]
            if side_no not in grams:
                grams[side_no] = ngrams(words, COVER), ngrams(words, RUN)
            hit = _compare(row.id, side, self._texts[text_no], *grams[side_no])
            if hit is not None:
                found.append(hit)
        return found

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
