"""Worker threads of the app, a fixed number per lane, shared by all workspaces."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Literal

logger = logging.getLogger(__name__)

Lane = Literal["compute", "io", "flow", "watch"]


class Lanes:
    """First come, first served, in each lane. Threads are daemons: they never hold up an exit."""

    def __init__(self, workers: Mapping[Lane, int]) -> None:
        self._queues: dict[Lane, queue.SimpleQueue[Callable[[], None]]] = {}
        for lane, count in workers.items():
            self._queues[lane] = queue.SimpleQueue()
            for number in range(count):
                threading.Thread(
                    target=self._work, args=(lane,), name=f"{lane}-{number}", daemon=True
                ).start()

    def submit(self, lane: Lane, work: Callable[[], None]) -> None:
        """Run `work` on a thread of `lane` when one is free; what it raises is logged."""
        self._queues[lane].put(work)

    def _work(self, lane: Lane) -> None:
        while True:
            work = self._queues[lane].get()
            try:
                work()
            except Exception:  # one failure must not end the lane's only thread
                logger.exception("work in lane %s failed", lane)
