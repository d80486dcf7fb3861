"""Mathematical equality by `math-verify` (sympy): 1/2 = 0.5, x+1 = 1+x, intervals, sets, matrices.

Runs in a worker of `verify.pool`: sympy can think for ever about a hostile expression, and
math-verify's own time limit needs the main thread. Numbers alone never come so far.
"""

from typing import Any

from distill_studio.verify.final_answer import final_answer
from distill_studio.verify.numeric import is_same, show, whole_number
from distill_studio.verify.verdict import Verdict

_MAX_CHARACTERS = 2000


def verify_number(answer: str, reference: str) -> Verdict | None:
    """The verdict where both sides mark a plain number; None where sympy must look."""
    wanted = whole_number(final_answer(reference).text)
    said = whole_number(final_answer(answer).text)
    if wanted is None or said is None:
        return None
    if is_same(said, wanted):
        return Verdict(ok=True, reason="the same number", extracted=show(said))
    return Verdict(ok=False, reason=f"another number than {show(wanted)}", extracted=show(said))


def verify(answer: str, reference: str) -> Verdict:
    """Whether the final answer equals the reference. May never return: call it through the pool."""
    if found := verify_number(answer, reference):
        return found
    import math_verify  # noqa: PLC0415 - a second of sympy, only in the worker

    wanted = final_answer(reference).text
    said, mark = final_answer(answer)
    if not said.strip():
        return Verdict(ok=False, reason="no final answer")
    gold = _parse(math_verify, wanted, is_marked=True)
    if not gold:
        return Verdict(ok=False, reason="the reference cannot be read as mathematics")
    target = _parse(math_verify, said, is_marked=bool(mark))
    if not target:
        return Verdict(ok=False, reason="no mathematics found in the answer", extracted=said[-200:])
    extracted = str(target[-1])[:_MAX_CHARACTERS]
    if math_verify.verify(gold, target, timeout_seconds=None):
        return Verdict(ok=True, reason="mathematically equal", extracted=extracted)
    return Verdict(ok=False, reason="not equal to the reference", extracted=extracted)


def _parse(math_verify: Any, text: str, is_marked: bool) -> list[Any]:  # noqa: ANN401 - untyped vendor
    """What math-verify reads; a marked answer is given as a formula, an unmarked text as it is."""
    text = text.strip()[-_MAX_CHARACTERS:]
    is_bare = is_marked and "$" not in text and "\\(" not in text and "\\[" not in text
    found: list[Any] = math_verify.parse(f"${text}$" if is_bare else text, parsing_timeout=None)
    return found
