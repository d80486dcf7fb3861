"""How well chosen rows predict held-out ones: an interpolated bigram model of words.

Fitted on the words of the chosen rows, scored on rows that it did not see, in bits per word (less
is better). Its weights are fixed, not tuned: 0.6 bigram, 0.35 unigram, 0.05 uniform. It knows word
counts only: no meaning, no order beyond two words, no correctness. It rewards the mix of words of
the held-out rows, so the random choice, which has the same mix, is hard to beat; small differences
say little about what a student learns.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill_studio.core.words import words

NAME = "interpolated bigram word model"
WORDS_A_TEXT = 200
_BIGRAM, _UNIGRAM, _UNIFORM = 0.6, 0.35, 0.05
IntArray = npt.NDArray[np.int64]


class Vocabulary:
    """Numbers for words, in the order in which they first came; 0 begins a text."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers) + 1

    def encode(self, text: str) -> IntArray:
        """The numbers of a text's first words, after a 0."""
        numbers = self._numbers
        found = [numbers.setdefault(w, len(numbers) + 1) for w in words(text)[:WORDS_A_TEXT]]
        return np.array([0, *found], dtype=np.int64)


def bits_per_word(
    chosen: Sequence[IntArray], held_out: Sequence[IntArray], vocabulary: int
) -> float:
    """Mean of -log2 p(word | word before) over the held-out texts.

    Args:
        chosen: Encoded texts that the model is fitted on.
        held_out: Encoded texts that are scored.
        vocabulary: How many numbers there are, over all methods that are compared.
    """
    before, after = _bigrams(chosen)
    unigrams = np.bincount(after, minlength=vocabulary).astype(np.float64)
    contexts = np.bincount(before, minlength=vocabulary).astype(np.float64)
    keys, counts = np.unique(before * vocabulary + after, return_counts=True)
    seen_before, seen = _bigrams(held_out)
    if not len(seen):
        return 0.0
    asked = seen_before * vocabulary + seen
    place = np.searchsorted(keys, asked).clip(max=max(0, len(keys) - 1))
    found = np.zeros(len(asked))
    if len(keys):
        found = np.where(keys[place] == asked, counts[place], 0)
    from_unigrams = unigrams[seen] / max(1.0, unigrams.sum())
    context = contexts[seen_before]
    from_bigrams = np.where(context > 0, found / np.maximum(context, 1), from_unigrams)
    share = _BIGRAM * from_bigrams + _UNIGRAM * from_unigrams + _UNIFORM / max(1, vocabulary)
    return float(-np.log2(share).mean())


def _bigrams(texts: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
    """(words before, words after) of all texts."""
    if not texts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([t[:-1] for t in texts]), np.concatenate([t[1:] for t in texts])
