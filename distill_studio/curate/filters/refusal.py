"""Refusals and "as an AI" boilerplate.

A refusal stands at the beginning of an answer (score 1); a remark about being an AI may stand
anywhere (score 0.5). Neither counts inside quotation marks, block quotes or code, where it is
somebody else's text. The phrases are those that the four AlpacaEval answer files show, with the
usual variants.
"""

import re
from typing import Literal

from distill_studio.curate.filters.base import (
    Answer,
    Filter,
    FilterConfig,
    Limit,
    Measured,
    setting,
)

_OPENING_CHARACTERS = 240  # a refusal announces itself in the first sentences
_NOT = r"(?:can ?not|can't|am not able to|'m not able to|am unable to|'m unable to|won't|will not)"
_DO = (
    r"(?:help(?! but\b)|assist|provide|fulfil|fulfill|comply|answer|create|generate|write|"
    r"do that|do this|continue|complete|discuss|engage|support|share|offer|give|make|access|browse|"
    r"open|view|see)"
)
_REFUSALS = re.compile(
    rf"\b(?:sorry|apologi[sz]e|apologies|unfortunately|regret)\b[^.!?\n]{{0,60}}\bI ?{_NOT}\b"
    rf"|^(?:[\w\s,']{{0,40}})?\bI ?{_NOT} (?:\w+ )?{_DO}\b"
    r"|\bI (?:must|have to) (?:decline|refuse)\b"
    r"|\bI (?:do not|don't) have (?:access to|the ability to|the capability to)\b"
    r"|\bit (?:is|would be|'s) (?:not appropriate|inappropriate|unethical) (?:for me )?to\b",
    re.IGNORECASE,
)
_SELF = re.compile(
    r"\bas an? (?:AI|artificial intelligence|(?:large )?language model|AI (?:language )?model"
    r"|(?:AI|virtual|digital) assistant|machine learning model)\b"
    r"|\bI(?:'m| am) (?:just |only |merely )?an? (?:AI|artificial intelligence"
    r"|(?:large )?language model)\b"
    r"|\bmy (?:knowledge cutoff|training data (?:ends|goes|only goes))\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]+`|^\s*>.*$|\"[^\"\n]{1,2000}\"|“[^”]{1,2000}”|«[^»]{1,2000}»"
    r"|(?<!\w)'[^'\n]{3,400}'(?!\w)|(?<!\w)‘[^’\n]{3,400}’(?!\w)",
    re.MULTILINE | re.DOTALL,
)


class RefusalConfig(FilterConfig):
    """Which boilerplate drops a row."""

    kind: Literal["refusal"] = "refusal"
    strictness: Literal["refusals_and_remarks", "refusals"] = setting(
        "refusals_and_remarks",
        "What goes",
        choices={
            "refusals_and_remarks": "Refusals and remarks such as “as an AI”",
            "refusals": "Only refusals",
        },
    )

    def limits(self) -> tuple[Limit, ...]:
        """A limit between remark (0.5) and refusal (1), or below both."""
        most = 0.75 if self.strictness == "refusals" else 0.25
        return (Limit("refusal.score", maximum=most, why_high="boilerplate: “{note}”"),)


def measure(answer: Answer) -> dict[str, Measured]:
    """1 for a refusal at the beginning, 0.5 for a remark on being an AI, else nothing."""
    text = _QUOTED.sub(" ", answer.text.strip()).replace("’", "'")
    refusal = _REFUSALS.search(text[:_OPENING_CHARACTERS])
    remark = _SELF.search(text)
    if refusal:
        return {"refusal.score": Measured(1.0, " ".join(refusal.group().split()))}
    if remark:
        return {"refusal.score": Measured(0.5, " ".join(remark.group().split()))}
    return {}


REFUSAL = Filter(RefusalConfig, "Refusals", "Refusals and “as an AI” boilerplate.", 2, measure)
