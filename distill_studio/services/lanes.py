"""Worker threads of the app, a fixed number per lane, shared by all workspaces."""

import queue
import threading
from collections.abc import Callable, Mapping


class Lanes:
    """First come, first served, in each lane. Threads are daemons: they never hold up an exit."""

    def __init__(self, workers: Mapping[str, int]) -> None:
        self._queues: dict[str, queue.SimpleQueue[Callable[[], None]]] = {}
        for lane, count in workers.items():
            self._queues[lane] = queue.SimpleQueue()
            for number in range(count):
                threading.Thread(
                    target=self._work, args=(lane,), name=f"{lane}-{number}", daemon=True
                ).start()

    def submit(self, lane: str, work: Callable[[], None]) -> None:
        """Run `work` on a thread of `lane` when one is free. It must not raise."""
        self._queues[lane].put(work)

    def _work(self, lane: str) -> None:
        while True:
            self._queues[lane].get()()
