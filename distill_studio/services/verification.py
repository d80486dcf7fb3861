"""The check between a reply and the store, for recipes that keep only what holds."""

from __future__ import annotations

import re

from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Seed
from distill_studio.generate.recipes import Ask
from distill_studio.verify import Verdict, VerifierKind, VerifyPool
from distill_studio.verify.final_answer import final_answer
from distill_studio.verify.trace import check_trace

_TESTS = "tests"  # column of a seed that holds unit tests
_MATHS = re.compile(r"[\d\\]")


async def check(pool: VerifyPool, ask: Ask, reply: ChatReply) -> Verdict:
    """Whether the trace is sound and its final answer agrees with the seed's reference."""
    written = f"<think>{reply.reasoning}</think>\n{reply.text}" if reply.reasoning else reply.text
    sound = check_trace(written, ask.seed.prompt, reply.finish_reason)
    if not sound.ok:
        return sound
    kind, reference = held_against(ask.seed)
    if kind is VerifierKind.MATH and not final_answer(written).mark:
        return Verdict(ok=False, reason="has no final answer after ####, in a box or by words")
    return await pool.verify(kind, written, reference)


def held_against(seed: Seed) -> tuple[VerifierKind, str]:
    """Which verifier a seed asks for, and what it compares with.

    Unit tests where the seed brings some, mathematics where the reference has a number or a
    formula, else equal words.
    """
    tests = seed.extra.get(_TESTS)
    if isinstance(tests, str) and tests.strip():
        return VerifierKind.UNIT_TESTS, tests
    reference = seed.reference or ""
    return (VerifierKind.MATH if _MATHS.search(reference) else VerifierKind.EXACT), reference
