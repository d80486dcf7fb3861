"""Unit tests for code in an answer, run in the sandbox.

The tests may be plain `assert` lines, `test_*` functions, or HumanEval's `check(candidate)`.
"""

import functools
import re
import secrets

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
import sys
def _run():
    word = sys.stdin.readline()
    sys.stdin.close()
    space = {"__name__": "solution"}
    for name in ("solution.py", "tests.py"):
        with open(name, encoding="utf-8") as file:
            exec(compile(file.read(), name, "exec"), space)
    for name, test in list(space.items()):
        if name.startswith("test_") and callable(test):
            test()
        elif name == "check" and callable(test) and not space.get("_checked"):
            candidate = space.get("candidate") or space[sys.argv[1]]
            test(candidate)
    sys.stdout.flush()
    print("\\n" + word, end="", flush=True)
_run()
"""


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


def verify(answer: str, reference: str, timeout_s: float = 10.0) -> Verdict:
    """Whether the code of an answer passes the tests in `reference`.

    Raises:
        NoIsolation: This machine has no sandbox; the code is not run.
    """
    code = extract_code(answer)
    if not code.strip():
        return Verdict(ok=False, reason="no code found in the answer")
    if not reference.strip():
        return Verdict(ok=False, reason="there are no tests to run", extracted=code)
    word = secrets.token_hex(16)
    result = _sandbox(timeout_s).run(
        _HARNESS,
        files={"solution.py": code, "tests.py": reference},
        stdin=word + "\n",
        arguments=[_entry_point(code)],
    )
    return _verdict(result, code, word)


@functools.lru_cache(maxsize=8)
def _sandbox(timeout_s: float) -> Sandbox:
    return Sandbox(Limits(wall_s=timeout_s, cpu_s=timeout_s))


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
