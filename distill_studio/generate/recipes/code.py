"""Code with an explanation, kept where its tests pass when they are run.

A seed is a programming task. The teacher explains and solves it; tests come with the seed (a
column `tests`), or the teacher writes them in a conversation of its own, from the task and the
names alone, so that they do not follow the solution. Code that fails is shown its error and may be
mended (self-debugging, arXiv 2304.05128). Execution as a filter: OctoPack, WizardCoder's successors
and DeepSeek-R1 (arXiv 2501.12948, section 2.3.3) keep code this way. It runs only in the sandbox.
"""

import ast
import re
from collections.abc import Generator
from typing import Any

from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Message
from distill_studio.generate.effects import (
    ELIMINATED,
    NOT_VERIFIED,
    UNREADABLE,
    Ask,
    Check,
    Draft,
    Dropped,
    Made,
    Steps,
    Unit,
)
from distill_studio.generate.prompts import fill, load_prompts
from distill_studio.generate.recipes.base import (
    ANSWER,
    Settings,
    user,
    with_examples,
    with_system,
)
from distill_studio.verify import Verdict, VerifierKind
from distill_studio.verify.unit_tests import extract_code

TESTS = "tests"
_NAMES = re.compile(r"^((?:async )?def \w+\(.*?\)(?:\s*->\s*[^:\n]+)?|class \w+[^:\n]*):", re.M)
_ASSERT = re.compile(r"^\s*assert\b|self\.assert|\braises\(", re.M)
_FENCED = re.compile(r"^[^\S\n]*(?:```+|~~~+)", re.M)
# What only makes sense to whoever saw the attempt before.
_LOOKS_BACK = re.compile(
    r"\btests? (?:has |have )?fail|\bfailed\b|\bfix(?:ed|es)?\b|\bcorrect(?:ed|s|ion)\b|\bapolog"
    r"|\b(?:previous|earlier|original|first|last) (?:version|attempt|solution|code|answer)\b"
    r"|\bwas wrong\b|\bmistake\b|\bAssertionError\b",
    re.IGNORECASE,
)
_LEAST_WORDS = 8  # of explanation around the code


class Code:
    """A solution with its explanation; tests that ran are part of the provenance."""

    prompts = load_prompts("code")

    def samples(self, n: int) -> int:
        """One per seed and teacher."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """Solution, tests, run, mend."""
        asked = with_system(unit.seed.messages, settings.system_prompt or settings.texts["solve"])
        reply = yield Ask(ANSWER, with_examples(asked, settings.examples, unit.seed.id))
        code = _solution(ANSWER, reply)
        tests = yield from _tests(unit, code, settings)
        reply, verdict, repairs = yield from _run(unit, reply, tests, settings)
        if not verdict.ok:
            raise Dropped(ANSWER, NOT_VERIFIED, verdict.reason, reply.text)
        if settings.word("explanation") == "needed" and not _explains(reply.text):
            raise Dropped(ANSWER, ELIMINATED, "The code has no explanation.", reply.text)
        if repairs and _LOOKS_BACK.search(reply.text):
            reason = "The mended answer speaks of the failed attempt, which no reader has seen."
            raise Dropped(f"mend/{repairs}", ELIMINATED, reason, reply.text)
        found: dict[str, Any] = {
            "verified": {"reason": verdict.reason, "tests": tests},
            "tests_from": "seed" if _own_tests(unit) else "teacher",
            "repairs": repairs,
        }
        trained = with_system(unit.seed.messages, settings.system_prompt)
        return Made((Draft(reply, trained, params=found),))


def _tests(unit: Unit, code: str, settings: Settings) -> Generator[Ask, ChatReply, str]:
    """The seed's tests, else the teacher's.

    Raises:
        Dropped: The teacher's reply holds no test.
    """
    if own := _own_tests(unit):
        return own
    names = "\n".join(match.strip() for match in _NAMES.findall(code))
    text = fill(settings.texts[TESTS], task=unit.seed.prompt, names=names)
    reply = yield Ask(TESTS, user(text))
    tests = _without_solution(extract_code(reply.text), code, reply)
    if not _ASSERT.search(tests):
        raise Dropped(TESTS, UNREADABLE, "The reply holds no tests.", reply.text)
    return tests


def _without_solution(tests: str, code: str, reply: ChatReply) -> str:
    """The tests without functions and classes that would take the place of the solution's."""
    try:
        tree, names = ast.parse(tests), _defined(ast.parse(code))
    except (SyntaxError, ValueError) as err:
        reason = f"The reply's tests or the solution are no Python: {err}"
        raise Dropped(TESTS, UNREADABLE, reason, reply.text) from err
    kept = [node for node in tree.body if getattr(node, "name", "") not in names]
    return ast.unparse(ast.Module(kept, []))


def _defined(tree: ast.Module) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def _run(
    unit: Unit, reply: ChatReply, tests: str, settings: Settings
) -> Generator[Ask | Check, Any, tuple[ChatReply, Verdict, int]]:
    """Run the tests; while they fail, let the teacher mend its code."""
    verdict: Verdict = yield Check(VerifierKind.UNIT_TESTS, reply.text, tests)
    repairs = 0
    for number in range(1, settings.number("repairs") + 1):
        if verdict.ok:
            break
        said = Message(role="assistant", content=reply.text)
        request = user(fill(settings.texts["mend"], reason=verdict.reason))
        step = f"mend/{number}"
        reply = yield Ask(step, (*unit.seed.messages, said, *request))
        _solution(step, reply)
        repairs = number
        verdict = yield Check(VerifierKind.UNIT_TESTS, reply.text, tests)
    return reply, verdict, repairs


def _solution(step: str, reply: ChatReply) -> str:
    code = extract_code(reply.text)
    if not code.strip() or not _NAMES.search(code):
        raise Dropped(step, UNREADABLE, "The reply holds no function or class.", reply.text)
    return code


def _own_tests(unit: Unit) -> str:
    tests = unit.seed.extra.get(TESTS)
    return tests.strip() if isinstance(tests, str) else ""


def _explains(answer: str) -> bool:
    """Whether there are words besides the code."""
    outside = "".join(part for n, part in enumerate(_FENCED.split(answer)) if n % 2 == 0)
    return len(outside.split()) >= _LEAST_WORDS
