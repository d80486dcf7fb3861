"""Does an answer hold? Exact match, final numbers, mathematics, unit tests, and the trace's text.

Start from `VerifyPool` (or the one pool of the process: `verify`), and `trace.check_trace` for
what disqualifies a chain of thought whatever its answer.
"""

import atexit
import functools

from distill_studio.verify.pool import VerifyPool
from distill_studio.verify.verdict import TIMED_OUT, Verdict, Verifier, VerifierKind

__all__ = ["TIMED_OUT", "Verdict", "Verifier", "VerifierKind", "VerifyPool", "pool", "verify"]


@functools.cache
def pool() -> VerifyPool:
    """The pool that this process shares; its workers start when first needed."""
    shared = VerifyPool()
    atexit.register(shared.close)
    return shared


def verify(kind: VerifierKind | str, answer: str, reference: str) -> Verdict:
    """The verdict on an answer, by the shared pool; see `VerifyPool.verify_now`."""
    return pool().verify_now(kind, answer, reference)
