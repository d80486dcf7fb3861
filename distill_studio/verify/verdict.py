"""What a verifier says, and what a verifier is."""

from enum import StrEnum
from typing import Protocol

from pydantic import Field

from distill_studio.core.records import Record

TIMED_OUT = "timed out"


class VerifierKind(StrEnum):
    """The ways an answer can be checked against what a seed carries."""

    EXACT = "exact"
    NUMERIC = "numeric"
    MATH = "math"
    UNIT_TESTS = "unit_tests"


class Verdict(Record):
    """Whether an answer holds, why (not), and what was read from it."""

    ok: bool = Field(description="True when the answer holds.")
    reason: str = Field(description="Why it holds or not, in a few words.")
    extracted: str = Field(default="", description="The final answer or code that was checked.")


class Verifier(Protocol):
    """Checks one answer. `reference` is the right answer, or the tests for code."""

    def __call__(self, answer: str, reference: str) -> Verdict:
        """The verdict on an answer."""
        ...
