"""A child of the verify pool: one JSON line in, one verdict out. Killed whenever it is too slow.

Run by `verify.pool` as `python -m distill_studio.verify.worker <memory in MiB>`.
"""

import json
import logging
import os
import resource
import signal
import sys

from distill_studio.verify import maths

_GRACE_S = 5  # after the pool's own limit, so that a worker without its parent ends too


def main() -> None:
    """Answer lines until the parent closes the pipe."""
    logging.disable(logging.CRITICAL)
    limit = int(sys.argv[1]) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print must not mix in
        maths.verify("\\boxed{x+1}", "1+x")  # loads sympy and the grammar
        replies.write("ready\n")
        replies.flush()
        for line in sys.stdin:
            replies.write(_answer(json.loads(line)) + "\n")
            replies.flush()


def _answer(question: dict[str, str]) -> str:
    # The kernel ends the process, whatever Python is busy with: SIGALRM keeps its default action.
    signal.alarm(int(float(question["timeout_s"])) + _GRACE_S)
    try:
        verdict = maths.verify(question["answer"], question["reference"]).model_dump()
    except MemoryError:
        verdict = {"ok": False, "reason": "needed too much memory", "extracted": ""}
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as err:
        why = f"could not be compared ({type(err).__name__})"
        verdict = {"ok": False, "reason": why, "extracted": ""}
    finally:
        signal.alarm(0)
    return json.dumps(verdict)


if __name__ == "__main__":
    main()
