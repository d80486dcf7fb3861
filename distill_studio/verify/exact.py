"""Exact match of the final answer, blind to case, white space, width and outer punctuation."""

import unicodedata

from distill_studio.verify.final_answer import final_answer
from distill_studio.verify.verdict import Verdict

_OUTER = " \t\n.,;:!?'\"`´’‘“”„«»()[]{}*_$"


def normalise(text: str) -> str:
    """The form in which two answers are compared; never empty for a text with any sign."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.strip(_OUTER) or plain


def verify(answer: str, reference: str) -> Verdict:
    """Whether the final answer (the whole reply where nothing marks one) is the reference."""
    said, wanted = final_answer(answer).text, final_answer(reference).text
    if not wanted.strip():
        return Verdict(ok=False, reason="there is no reference answer to compare with")
    if not said.strip():
        return Verdict(ok=False, reason="no final answer")
    if normalise(said) == normalise(wanted):
        return Verdict(ok=True, reason="the same answer", extracted=said)
    return Verdict(ok=False, reason="another answer than the reference", extracted=said)
