"""Scores of answers to a suite's prompts, from 0 to 1. Start at `score_answer`.

A likelihood is exp(-loss), loss the mean over the reference's tokens in nats: the probability that
the model gives to each of them, in the geometric mean. Models with other tokens are not comparable.

Multiple choice is not written but weighed: `best_choice` takes the choice whose characters are
the least surprising to the model after the question alone (lm-evaluation-harness's acc_norm).
Listed in the question, a choice would be likely for being a copy, and a long one the most.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Indel

from distill_studio.core.records.suite import SuiteItem, SuiteScorer
from distill_studio.verify import Verdict, VerifierKind
from distill_studio.verify import verify as verify_by_pool
from distill_studio.verify.final_answer import after_reasoning

_WORD = re.compile(r"\w+")
_LETTER = re.compile(r"\(?([A-Z])[).:]?")


@dataclass(frozen=True)
class Scored:
    """A score from 0 to 1 and why."""

    score: float
    reason: str


def score_answer(scorer: SuiteScorer, answer: str, item: SuiteItem) -> Scored:
    """The score of a written answer; from any thread.

    Raises:
        ValueError: No rule scores this (multiple choice, likelihood, agreement, a judge).
        NoIsolation: Unit tests where this machine has no sandbox.
    """
    if not scorer.is_rule:
        raise ValueError("This is scored by a model, not by a rule.")
    if scorer is SuiteScorer.ROUGE_L:
        return Scored(rouge_l(after_reasoning(answer), item.reference), "ROUGE-L F1 by words")
    verdict: Verdict = verify_by_pool(VerifierKind(scorer), answer, item.reference)
    return Scored(float(verdict.ok), verdict.reason)


def rouge_l(answer: str, reference: str) -> float:
    """ROUGE-L F1 over lower-case words: 2 LCS / (len a + len b) (Lin 2004)."""
    words = [_WORD.findall(text.lower()) for text in (answer, reference)]
    if not words[0] or not words[1]:
        return float(words[0] == words[1])
    return float(Indel.normalized_similarity(words[0], words[1]))


def right_choice(reference: str, choices: Sequence[str]) -> int | None:
    """The place of the right choice: the reference is its text, its letter or its number (from 0).

    Text comes first: a choice may read "B" or "2". None where it names no choice.
    """
    wanted = reference.strip()
    texts = [choice.strip() for choice in choices]
    if wanted in texts:
        return texts.index(wanted)
    if letter := _LETTER.fullmatch(wanted.upper()):
        place = ord(letter[1]) - ord("A")
    elif wanted.isdecimal():
        place = int(wanted)
    else:
        return None
    return place if place < len(choices) else None


def best_choice(total_losses: Sequence[float], choices: Sequence[str]) -> int:
    """The place of the choice with the least loss per UTF-8 byte; the first one of equals.

    Args:
        total_losses: Of each choice after the question, in nats over all its tokens.
        choices: Their texts.
    """
    per_byte = [
        loss / max(len(choice.encode()), 1)
        for loss, choice in zip(total_losses, choices, strict=True)
    ]
    return per_byte.index(min(per_byte))
