"""Unit tests for code in an answer, run in the sandbox.

The tests may be plain `assert` lines, `test_*` functions, `unittest` cases, or HumanEval's
`check(candidate)`. They see the names of the solution.
"""

import functools
import re
import secrets
from pathlib import Path

from distill_studio.sandbox.limits import Limits, Reason, SandboxResult
from distill_studio.sandbox.runner import Sandbox
from distill_studio.verify.final_answer import after_reasoning
from distill_studio.verify.verdict import TIMED_OUT, Verdict

_FENCE = re.compile(r"^[^\S\n]*(```+|~~~+)[^\S\n]*([\w+-]*)[^\n]*\n(.*?)^[^\S\n]*\1", re.M | re.S)
_OPEN_FENCE = re.compile(r"^[^\S\n]*(?:```+|~~~+)[^\S\n]*(?:python3?|py)[^\S\n]*\n", re.M)
_PYTHON = {"python", "py", "python3"}
_LOOKS_LIKE_CODE = re.compile(r"^(?:def|class|import|from|async def|@\w)[\s\w(]", re.M)

# The word comes by stdin and is printed only when every test has run: code that leaves early
# with `exit(0)` does not pass. This guards against accidents and lazy answers; code that hunts
# for the word through the frames of the interpreter could still find it.
_HARNESS = """\
import sys, unittest
def _load(name, space):
    with open(name, encoding="utf-8") as file:
        exec(compile(file.read(), name, "exec"), space)
def _run():
    word = sys.stdin.readline()
    sys.stdin.close()
    space = {"__name__": "solution"}
    _load("solution.py", space)
    before = dict(space)
    _load("tests.py", space)
    for name, test in list(space.items()):
        if before.get(name) is test:
            continue
        if isinstance(test, type) and issubclass(test, unittest.TestCase):
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(test).run(result)
            for _, trace in result.errors + result.failures:
                sys.exit(trace)
        elif name.startswith("test_") and callable(test):
            test()
        elif name == "check" and callable(test) and sys.argv[1]:
            test(space[sys.argv[1]])
    sys.stdout.flush()
    print("\\n" + word, end="", flush=True)
_run()
"""
_CHECKS = re.compile(r"\bassert|\braise\b|^\s*def (?:test_|check\b)|\bTestCase\b", re.M)
_CALLS_CHECK = re.compile(r"^check\(", re.M)


def extract_code(answer: str) -> str:
    """The code of an answer: its Python blocks joined, else all blocks, else a text that is code.

    A last block that was opened and never closed (an answer cut off) is not taken: ''.
    """
    said = after_reasoning(answer)
    blocks = [(language.lower(), body) for _, language, body in _FENCE.findall(said)]
    python = [body for language, body in blocks if language in _PYTHON]
    plain = [body for language, body in blocks if not language]
    if python or plain:
        return "\n\n".join(body.rstrip() for body in python or plain) + "\n"
    if blocks or _OPEN_FENCE.search(said) or not _LOOKS_LIKE_CODE.search(said):
        return ""
    return said + "\n"


def verify(
    answer: str, reference: str, timeout_s: float = 10.0, hidden: tuple[Path, ...] = ()
) -> Verdict:
    """Whether the code of an answer passes the tests in `reference`.

    `hidden` folders are kept from it wherever they lie.

    Raises:
        NoIsolation: This machine has no sandbox; the code is not run.
    """
    code = extract_code(answer)
    if not code.strip():
        return Verdict(ok=False, reason="no code found in the answer")
    if not reference.strip():
        return Verdict(ok=False, reason="there are no tests to run", extracted=code)
    if not _CHECKS.search(reference):
        return Verdict(ok=False, reason="the tests check nothing", extracted=code)
    word = secrets.token_hex(16)
    result = _sandbox(timeout_s, hidden).run(
        _HARNESS,
        files={"solution.py": code, "tests.py": reference},
        stdin=word + "\n",
        arguments=["" if _CALLS_CHECK.search(reference) else _entry_point(code)],
    )
    return _verdict(result, code, word)


@functools.lru_cache(maxsize=8)
def _sandbox(timeout_s: float, hidden: tuple[Path, ...]) -> Sandbox:
    return Sandbox(Limits(wall_s=timeout_s, cpu_s=timeout_s), hidden)


def _entry_point(code: str) -> str:
    """The last function of the outermost level: what HumanEval's `check` is given."""
    names = re.findall(r"^(?:async )?def (\w+)", code, re.M)
    return str(names[-1]) if names else ""


def _verdict(result: SandboxResult, code: str, word: str) -> Verdict:
    if result.reason in (Reason.TIMED_OUT, Reason.CPU):
        return Verdict(ok=False, reason=TIMED_OUT, extracted=code)
    if result.ok and result.stdout.endswith(word + "\n"):
        return Verdict(ok=True, reason="all tests passed", extracted=code)
    if result.ok:
        return Verdict(ok=False, reason="the program left before its tests ended", extracted=code)
    if result.reason != Reason.FAILED:
        return Verdict(ok=False, reason=f"the tests stopped: {result.reason}", extracted=code)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    why = lines[-1].strip()[:200] if lines else f"exit code {result.exit_code}"
    return Verdict(ok=False, reason=f"the tests failed: {why}", extracted=code)
