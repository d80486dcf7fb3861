"""Stored verdicts as recipes and imports leave them."""

import pytest

from distill_studio.curate.filters import VerificationConfig, judge
from distill_studio.curate.filters.base import Answer
from distill_studio.curate.filters.verification import measure

FAILED = {"verified": {"ok": False, "reason": "12 is not 13"}}


@pytest.mark.parametrize(
    ("provenance", "score"),
    [
        ({"verified": {"reason": "equal", "answer": "12"}}, 1.0),
        ({"verified": True}, 1.0),
        ({"verified": False}, 0.0),
        (FAILED, 0.0),
        ({"ensemble": {"verdicts": {"0": "12 is not 13", "1": "holds"}}}, 1.0),
        ({"ensemble": {"keep": "vote"}}, None),
        ({"temperature": 0.7}, None),
        ({}, None),
    ],
)
def test_verdicts(provenance, score):
    made = measure(Answer("12", provenance=provenance))
    assert (made["verification.verdict"].score if made else None) == score


def test_what_does_not_hold_goes_with_the_verifiers_words():
    drop = judge(VerificationConfig(), measure(Answer("12", provenance=FAILED)))
    assert drop is not None
    assert drop.reason == "does not hold: 12 is not 13"
    assert (
        judge(VerificationConfig(drop_failed=False), measure(Answer("", provenance=FAILED))) is None
    )
