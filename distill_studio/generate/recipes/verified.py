"""Verified chain of thought: n traces per seed, kept where the final answer holds.

As DeepSeek-R1 made its 600,000 reasoning rows (arXiv 2501.12948, section 2.3.3): rejection
sampling against a reference answer, and no traces that mix languages, loop or break off.
"""

import re
from collections.abc import Generator
from dataclasses import replace

from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Seed
from distill_studio.generate.effects import NOT_VERIFIED, Check, Dropped, Made, Steps, Unit
from distill_studio.generate.prompts import load_prompts
from distill_studio.generate.recipes.base import ANSWER, Settings, answered
from distill_studio.generate.recipes.best_of_n import BestOfN
from distill_studio.verify import Verdict, VerifierKind
from distill_studio.verify.final_answer import final_answer
from distill_studio.verify.trace import check_trace

_TESTS = "tests"  # column of a seed that holds unit tests
_MATHS = re.compile(r"[\d\\]")


class Verified(BestOfN):
    """Like best of n, but an answer that does not hold is dropped with its reason and text."""

    prompts = load_prompts("verified")

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """A trace, then its checks."""
        draft = yield from answered(unit, settings)
        verdict = yield from verdict_on(draft.reply, unit.seed)
        if not verdict.ok:
            raise Dropped(ANSWER, NOT_VERIFIED, verdict.reason, written(draft.reply))
        found = {"reason": verdict.reason, "answer": verdict.extracted}
        return Made((replace(draft, params={"verified": found}),))


def verdict_on(reply: ChatReply, seed: Seed) -> Generator[Check, Verdict, Verdict]:
    """Whether the trace is sound and its final answer agrees with the seed's reference."""
    trace = f"<think>{reply.reasoning}</think>\n{reply.text}" if reply.reasoning else reply.text
    sound = check_trace(trace, seed.prompt, reply.finish_reason)
    if not sound.ok:
        return sound
    kind, reference = held_against(seed)
    if kind is VerifierKind.MATH and not final_answer(trace).mark:
        return Verdict(ok=False, reason="has no final answer after ####, in a box or by words")
    return (yield Check(kind, trace, reference))


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


def written(reply: ChatReply) -> str:
    """All that the teacher wrote, the reasoning first."""
    return f"{reply.reasoning}\n\n{reply.text}".strip()
