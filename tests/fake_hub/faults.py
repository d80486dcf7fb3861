"""Ways to fail, on demand."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Fault:
    """What happens to the requests that match.

    Args:
        path: A regular expression searched for in the path as it was sent (without the query).
        status: The answer, instead of the Hub's; 0: none of its own.
        times: How many requests it hits; negative: all.
        after: How many that match pass first.
        method: Of the request; empty: any.
        message: In the body and `X-Error-Message`.
        headers: Of the answer, such as `{"Retry-After": "0"}`.
        cuts: The connection breaks: "before" the request is handled, "after" (done, but the answer
            is lost), or "middle" (half of the answer's body arrives).
        act: Called before the request is handled, as "the repository is deleted now".
        delay_s: Before the request is handled.
    """

    path: str
    status: int = 0
    times: int = 1
    after: int = 0
    method: str = ""
    message: str = "Internal Error - We're working hard to fix this as soon as possible!"
    headers: dict[str, str] = field(default_factory=dict)
    cuts: str = ""
    act: Callable[[], object] | None = None
    delay_s: float = 0.0
    hits: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Whether it is meant for such a request, used up or not."""
        return (not self.method or self.method == method) and bool(re.search(self.path, path))


class Faults:
    """Those in wait, first come first served."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Lay one in wait."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._faults.clear()

    def next(self, method: str, path: str) -> Fault | None:
        """The fault that hits this request, or none."""
        with self._lock:
            for fault in self._faults:
                if not fault.times or not fault.matches(method, path):
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                fault.hits += 1
                return fault
        return None
