"""How much a text repeats itself (n-gram loops, repeated lines). Pure; start from `repetition`.

The rules are those of Gopher (Rae et al. 2021, https://arxiv.org/abs/2112.11446, table A1).
Each rule's value is divided by its limit in that table; the largest quotient stands for the text,
so that one number (1 = Gopher's limits) moves all rules together. Each rule reads only texts long
enough for it (`_MIN_TOKENS`): the table was made for web pages, and in a short answer to
"repeat this word" one n-gram is easily a fifth of the text.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from distill_studio.core.words import words

# Gopher, table A1: largest share of characters in ...
TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}  # the most frequent n-gram
DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # any repeated n-gram
DUPLICATE_LINES = 0.30
DUPLICATE_PARAGRAPHS = 0.30
DUPLICATE_LINE_CHARACTERS = 0.20

_MIN_TOKENS = 30
_FENCED = re.compile(r"^(```|~~~).*?^\1[^\S\n]*$", re.MULTILINE | re.DOTALL)
_MIN_LINES = 5


class Repetition(NamedTuple):
    """The rule that a text breaks most: its value over Gopher's limit, and the rule in words."""

    score: float
    note: str = ""


def repetition(text: str) -> Repetition:
    """The largest quotient of a rule's value and its limit.

    Fenced code is left out: code repeats lines by nature.
    """
    text = _FENCED.sub("\n", text)
    found = [Repetition(0.0)]
    said = words(text)
    if len(said) >= _MIN_TOKENS:
        found += _ngram_rules(said)
    found += _line_rules(text)
    return max(found, key=lambda rule: rule.score)


def top_ngram_share(words: Sequence[str], n: int) -> float:
    """Share of the characters that the most frequent n-gram covers (0 if it occurs once)."""
    counts = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    if not counts:
        return 0.0
    most = max(counts.values())
    if most < 2:
        return 0.0
    longest = max(sum(map(len, gram)) for gram, count in counts.items() if count == most)
    return min(1.0, most * longest / max(1, sum(map(len, words))))


def duplicate_ngram_share(words: Sequence[str], n: int) -> float:
    """Share of the characters inside n-grams that occurred before; each character counts once."""
    seen: set[tuple[str, ...]] = set()
    repeated, i = 0, 0
    while i + n <= len(words):
        gram = tuple(words[i : i + n])
        if gram in seen:
            repeated += sum(map(len, gram))
            i += n
        else:
            seen.add(gram)
            i += 1
    return repeated / max(1, sum(map(len, words)))


def _ngram_rules(words: Sequence[str]) -> list[Repetition]:
    found = []
    for n, limit in TOP_NGRAM.items():
        share = top_ngram_share(words, n)
        found.append(Repetition(share / limit, f"one run of {n} words makes {share:.0%} of it"))
    for n, limit in DUPLICATE_NGRAMS.items():
        share = duplicate_ngram_share(words, n)
        found.append(Repetition(share / limit, f"{share:.0%} of it repeats runs of {n} words"))
    return found


def _line_rules(text: str) -> list[Repetition]:
    found = []
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) >= _MIN_LINES:
        share, characters = _duplicates(lines)
        found.append(Repetition(share / DUPLICATE_LINES, f"{share:.0%} of its lines are repeated"))
        found.append(
            Repetition(
                characters / DUPLICATE_LINE_CHARACTERS,
                f"repeated lines make {characters:.0%} of it",
            )
        )
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", text) if p.strip()]
    if len(paragraphs) >= _MIN_LINES:
        share, _ = _duplicates(paragraphs)
        found.append(
            Repetition(share / DUPLICATE_PARAGRAPHS, f"{share:.0%} of its paragraphs are repeated")
        )
    return found


def _duplicates(parts: Sequence[str]) -> tuple[float, float]:
    """Share of the parts, and of their characters, that occurred before."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count, characters = count + 1, characters + len(part)
        seen.add(part)
    return count / len(parts), characters / max(1, sum(map(len, parts)))
