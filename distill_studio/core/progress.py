"""Progress and cancellation, handed to any long piece of work."""

import threading
from typing import Protocol

from distill_studio.core.errors import Cancelled


class Progress(Protocol):
    """Called by long work with how far it is; cheap, may be called often."""

    def __call__(self, done: int, total: int | None = None, note: str = "") -> None:
        """`done` of `total` steps are done; `note` says what happens now."""
        ...


def no_progress(done: int, total: int | None = None, note: str = "") -> None:
    """Progress for callers that do not care."""


class CancelToken:
    """Set once by whoever stops a job; long work checks it between steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """True once somebody asked to stop."""
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` when somebody asked to stop."""
        if self.is_cancelled:
            raise Cancelled("Stopped on request.")

    def wait(self, timeout_s: float) -> bool:
        """Sleep up to `timeout_s`; True at once when cancelled."""
        return self._event.wait(timeout_s)
