"""Verification in processes that are killed when they hang. Start from `VerifyPool`.

Any number of threads may call `verify_now`, any event loop may await `verify`. A worker that
exceeds the limit is killed and replaced; the verdict says `timed out`.
"""

import asyncio
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from distill_studio.core.errors import Unavailable
from distill_studio.verify import exact, maths, numeric, unit_tests
from distill_studio.verify.verdict import TIMED_OUT, Verdict, VerifierKind

TIMEOUT_S = 10.0
MEMORY_MIB = 2048
_START_S = 120.0
_ROOT = Path(__file__).parents[2]


class VerifyPool:
    """A few workers and the verifiers that need none.

    Args:
        workers: How many answers are checked at once.
        timeout_s: Longest time for one answer, once it is its turn.
        memory_mib: Address space of one worker.
        hidden: Folders kept from models' code wherever they lie: the data folder.
    """

    def __init__(
        self,
        workers: int = 2,
        timeout_s: float = TIMEOUT_S,
        memory_mib: int = MEMORY_MIB,
        hidden: Sequence[Path] = (),
    ) -> None:
        self.timeout_s = timeout_s
        self._hidden = tuple(hidden)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="verify")
        self._workers: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._all = [_Worker(memory_mib) for _ in range(workers)]
        self._sandboxes = threading.BoundedSemaphore(workers)
        self._is_closed = False
        for worker in self._all:
            self._workers.put(worker)

    async def verify(self, kind: VerifierKind | str, answer: str, reference: str) -> Verdict:
        """The verdict on an answer, without holding up the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.verify_now, kind, answer, reference)

    def verify_now(self, kind: VerifierKind | str, answer: str, reference: str) -> Verdict:
        """The verdict on an answer; from any thread.

        Args:
            kind: exact, numeric, math or unit_tests.
            answer: The whole reply.
            reference: The right answer (a whole reference solution will do), or the tests.

        Raises:
            ValueError: For an unknown kind.
            NoIsolation: For unit tests where this machine has no sandbox.
        """
        checks: dict[VerifierKind, Callable[[str, str], Verdict]] = {
            VerifierKind.EXACT: exact.verify,
            VerifierKind.NUMERIC: numeric.verify,
            VerifierKind.MATH: self._verify_maths,
            VerifierKind.UNIT_TESTS: self._verify_tests,
        }
        return checks[VerifierKind(kind)](answer, reference)

    def _verify_maths(self, answer: str, reference: str) -> Verdict:
        if found := maths.verify_number(answer, reference):
            return found
        worker = self._workers.get()
        try:
            if self._is_closed:
                raise Unavailable("The verifiers have been shut down.")
            return worker.verify(answer, reference, self.timeout_s)
        finally:
            self._workers.put(worker)

    def _verify_tests(self, answer: str, reference: str) -> Verdict:
        with self._sandboxes:
            return unit_tests.verify(answer, reference, self.timeout_s, self._hidden)

    def close(self) -> None:
        """End the workers, also those that are busy."""
        self._is_closed = True
        for worker in self._all:
            worker.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> "VerifyPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Worker:
    """One child process; started when first needed and after each kill."""

    def __init__(self, memory_mib: int) -> None:
        self._memory_mib = memory_mib
        self._process: subprocess.Popen[bytes] | None = None

    def verify(self, answer: str, reference: str, timeout_s: float) -> Verdict:
        """Ask the child; kill it when it does not answer in time.

        A child that dies is replaced and asked once more: it may have been dead before.
        """
        question = {"answer": answer, "reference": reference, "timeout_s": str(timeout_s)}
        line = json.dumps(question).encode() + b"\n"
        for _ in range(2):
            try:
                return Verdict.model_validate_json(self._ask(line, timeout_s))
            except TimeoutError:
                self.stop()
                return Verdict(ok=False, reason=TIMED_OUT)
            except (BrokenPipeError, EOFError):
                self.stop()
        return Verdict(ok=False, reason="the verifier broke on this answer")

    def _ask(self, line: bytes, timeout_s: float) -> bytes:
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()
        return _read_line(process, timeout_s)

    def stop(self) -> None:
        """Kill the child with everything it started."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was left to write is of no use to a dead child

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        process = subprocess.Popen(
            [sys.executable, "-m", "distill_studio.verify.worker", str(self._memory_mib)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},  # no keys where hostile text is read
            start_new_session=True,
        )
        self._process = process
        try:
            _read_line(process, _START_S)
        except (TimeoutError, EOFError) as err:
            self.stop()
            raise Unavailable(
                "The process that checks mathematics does not start.",
                "Run `pip install -r requirements.txt` (it needs math-verify).",
            ) from err
        return process


def _read_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """One line of the child's replies.

    Raises:
        TimeoutError: It said nothing complete in time.
        EOFError: It died.
    """
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    deadline = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            raise TimeoutError
        piece = os.read(pipe, 65536)
        if not piece:
            raise EOFError
        line += piece
    return line
