"""Worker threads of the app, so many per lane at most, shared by all workspaces."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Literal

logger = logging.getLogger(__name__)

Lane = Literal["compute", "io", "flow", "watch"]
Work = Callable[[], None]


class Lanes:
    """First come, first served, in each lane.

    A thread starts when there is work that no idle one takes, and ends with `close`. Threads are
    daemons (those of `concurrent.futures` are not): they never hold up an exit.
    """

    def __init__(self, workers: Mapping[Lane, int]) -> None:
        self._lanes = {lane: _Lane(lane, most) for lane, most in workers.items()}

    def submit(self, lane: Lane, work: Work) -> None:
        """Run `work` on a thread of `lane` when one is free; what it raises is logged.

        Raises:
            RuntimeError: No thread can be started, and the lane has none: it will not run.
        """
        self._lanes[lane].submit(work)

    def close(self) -> None:
        """End each thread after what it does now; work that waits or comes later never runs."""
        for lane in self._lanes.values():
            lane.close()


class _Lane:
    def __init__(self, name: Lane, most: int) -> None:
        self._name = name
        self._most = most
        self._waiting: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads = 0
        self._is_closed = False

    def submit(self, work: Work) -> None:
        with self._lock:
            if self._is_closed:
                return
            if not self._idle.acquire(blocking=False) and self._threads < self._most:
                self._start()
            self._waiting.put(work)

    def _start(self) -> None:
        thread = threading.Thread(
            target=self._run, name=f"{self._name}-{self._threads}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the machine has no more: those that are there take it, if any is
            if not self._threads:
                raise
            logger.exception("lane %s has %d threads and no more", self._name, self._threads)
        else:
            self._threads += 1

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            for _ in range(self._threads):
                self._waiting.put(None)

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None and not self._is_closed:
            try:
                work()
            except BaseException:  # one failure, be it an exit, must not end the thread
                logger.exception("work in lane %s failed", self._name)
            del work  # and all that it holds, while this waits
            self._idle.release()
