"""Answers that say the same thing again and again (n-gram loops, repeated lines).

The rules are those of Gopher (Rae et al. 2021, https://arxiv.org/abs/2112.11446, table A1).
Each rule's value is divided by its limit in that table; the stored score is the largest quotient,
so that one number (1 = Gopher's limits) moves all rules together. Each rule reads only texts long
enough for it (`_MIN_TOKENS`): the table was made for web pages, and in a short answer to
"repeat this word" one n-gram is easily a fifth of the text.

The default is 2: of the 805 AlpacaEval answers of each model it drops 2 of GPT-4's (a song's
refrain, a list of paraphrases), 20 to 32 of the weak models', whose loops are real. At 1 it is
19 and 64 to 117, many of them songs and tables.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from distill_studio.curate.filters.base import Answer, Filter, FilterConfig, Limit, Measured
from distill_studio.curate.text import tokens

# Gopher, table A1: largest share of characters in ...
TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}  # the most frequent n-gram
DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # any repeated n-gram
DUPLICATE_LINES = 0.30
DUPLICATE_PARAGRAPHS = 0.30
DUPLICATE_LINE_CHARACTERS = 0.20

_MIN_TOKENS = 30
_FENCED = re.compile(r"^(```|~~~).*?^\1[^\S\n]*$", re.MULTILINE | re.DOTALL)
_MIN_LINES = 5


class RepetitionConfig(FilterConfig):
    """How much repetition is allowed, as a multiple of Gopher's limits."""

    kind: Literal["repetition"] = "repetition"
    max_score: float = Field(
        default=2.0, ge=0.1, le=10.0, description="1 = the limits of the Gopher paper."
    )

    def limits(self) -> tuple[Limit, ...]:
        """One limit on the largest quotient of value and published limit."""
        return (
            Limit(
                "repetition.score",
                maximum=self.max_score,
                why_high="repeats itself: {note}",
            ),
        )


def measure(answer: Answer) -> dict[str, Measured]:
    """The largest quotient of a rule's value and its limit, with the rule as the note.

    Fenced code is left out: code repeats lines by nature.
    """
    text = _FENCED.sub("\n", answer.text)
    found = [Measured(0.0)]
    words = tokens(text)
    if len(words) >= _MIN_TOKENS:
        found += _ngram_rules(words)
    found += _line_rules(text)
    return {"repetition.score": max(found, key=lambda m: m.score)}


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


def _ngram_rules(words: Sequence[str]) -> list[Measured]:
    found = []
    for n, limit in TOP_NGRAM.items():
        share = top_ngram_share(words, n)
        found.append(Measured(share / limit, f"one run of {n} words makes {share:.0%} of it"))
    for n, limit in DUPLICATE_NGRAMS.items():
        share = duplicate_ngram_share(words, n)
        found.append(Measured(share / limit, f"{share:.0%} of it repeats runs of {n} words"))
    return found


def _line_rules(text: str) -> list[Measured]:
    found = []
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) >= _MIN_LINES:
        share, characters = _duplicates(lines)
        found.append(Measured(share / DUPLICATE_LINES, f"{share:.0%} of its lines are repeated"))
        found.append(
            Measured(
                characters / DUPLICATE_LINE_CHARACTERS,
                f"repeated lines make {characters:.0%} of it",
            )
        )
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", text) if p.strip()]
    if len(paragraphs) >= _MIN_LINES:
        share, _ = _duplicates(paragraphs)
        found.append(
            Measured(share / DUPLICATE_PARAGRAPHS, f"{share:.0%} of its paragraphs are repeated")
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


REPETITION = Filter(RepetitionConfig, "Repetition", "Loops and repeated lines.", 1, measure)
