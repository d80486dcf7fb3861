"""Answers that were checked and do not hold, or that nothing checked.

Recipes with verifiers note what they found on the rows they make (`verified`, or `verdicts` of an
ensemble), imports may bring a column `verified`. A person's edit takes the verdict away: it was
passed on another text.
"""

from collections.abc import Mapping
from typing import Any, Literal

from distill_studio.curate.filters.base import (
    Answer,
    Filter,
    FilterConfig,
    Group,
    Limit,
    Measured,
    setting,
)

VERIFIED = "verification.verdict"
UNCHECKED = "unchecked"  # the store gives it to rows without a verdict
_HOLDS = "holds"


class VerificationConfig(FilterConfig):
    """Which verdicts drop a row."""

    kind: Literal["verification"] = "verification"
    drop_failed: bool = setting(True, "Drop answers that a verifier found wrong")
    drop_unchecked: bool = setting(
        False, "Drop answers that nothing checked", "Keeps only rows with a stored verdict."
    )

    def limits(self) -> tuple[Limit, ...]:
        """On the verdict, and on there being none."""
        failed = Limit(VERIFIED, 0.5 if self.drop_failed else None, why_low="does not hold: {note}")
        if not self.drop_unchecked:
            return (failed,)
        return failed, Limit(UNCHECKED, maximum=0.0, why_high="no verifier checked it")


def measure(answer: Answer) -> dict[str, Measured]:
    """1 for an answer that holds, 0 for one that does not; nothing when it was not checked."""
    verdict = stored_verdict(answer.provenance)
    return {} if verdict is None else {VERIFIED: verdict}


def stored_verdict(provenance: Mapping[str, Any]) -> Measured | None:
    """What a row's provenance says of its answer."""
    said = provenance.get("verified")
    if isinstance(said, Mapping):
        ok = bool(said.get("ok", True))  # recipes store only what holds
        return Measured(float(ok), str(said.get("reason", ""))[:200])
    if isinstance(said, bool):
        return Measured(float(said), "")
    ensemble = provenance.get("ensemble")
    verdicts = ensemble.get("verdicts") if isinstance(ensemble, Mapping) else None
    if isinstance(verdicts, Mapping) and _HOLDS in verdicts.values():
        return Measured(1.0, "")  # an ensemble keeps an answer that holds, or none
    return None


VERIFICATION = Filter(
    VerificationConfig,
    "Verification",
    "What verifiers found: exact answers, numbers, mathematics, unit tests.",
    1,
    measure,
    Group.PROOF,
)
