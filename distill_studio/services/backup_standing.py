"""How the backup stands, as its threads tell it and Home reads it: `Standing`."""

import errno
import logging
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from distill_studio.core.errors import StudioError
from distill_studio.core.records.backup import BackupState
from distill_studio.core.records.base import utc_now

logger = logging.getLogger(__name__)

Work = Literal["parts", "whole"]
_BACK_OFF_S = (2.0, 5.0, 15.0, 60.0, 180.0)
_LONGEST_WAIT_S = 3600.0
_REFUSALS = frozenset(("held", "public", "other_chain"))


@dataclass(frozen=True)
class _Failure:
    times: int
    since: datetime
    told: dict[str, object]  # fields of the state


class Standing:
    """Told by several threads, each call whole: a failure stays until the same work goes well.

    Args:
        state: At the start.
    """

    def __init__(self, state: BackupState) -> None:
        self._lock = threading.Lock()
        self._state = state  # without what fails
        self._failures: dict[Work, _Failure] = {}  # the newest last

    def shown(self) -> BackupState:
        """The state, with the newest of what fails."""
        with self._lock:
            if not self._failures:
                return self._state
            *_, newest = self._failures.values()
            since = min(one.since for one in self._failures.values())
            return self._state.model_copy(update={**newest.told, "since": since})

    def told(self, **fields: object) -> None:
        """Fields that say nothing of success."""
        with self._lock:
            self._state = self._state.model_copy(update=fields)

    def ok(self, work: Work, **fields: object) -> None:
        """It went well; what else fails is still shown."""
        with self._lock:
            self._failures.pop(work, None)
            self._state = self._state.model_copy(update={**fields, "status": "ok"})

    def failed(self, work: Work, err: Exception) -> float:
        """It failed; returns the seconds to wait before the next try."""
        told = _in_words(err)
        with self._lock:
            had = self._failures.pop(work, None)
            times = had.times + 1 if had else 1
            self._failures[work] = _Failure(times, had.since if had else utc_now(), told)
        if times == 1:
            logger.warning("backup: %s", told["message"])
        wait = _BACK_OFF_S[min(times, len(_BACK_OFF_S)) - 1]
        return max(wait, min(getattr(err, "retry_after_s", None) or 0.0, _LONGEST_WAIT_S))

    def is_failing(self, work: Work) -> bool:
        """True from a failure until it goes well."""
        with self._lock:
            return work in self._failures


def _in_words(err: Exception) -> dict[str, object]:
    code = getattr(err, "code", "other")
    message = err.user_message if isinstance(err, StudioError) else f"The backup failed: {err}"
    status = "refused" if code in _REFUSALS else "behind"
    if isinstance(err, OSError) and err.errno == errno.ENOSPC:
        code, message = "full", "The disk of the data folder is full: no copy can be made."
    return {
        "status": status,
        "code": code,
        "message": message,
        "hint": getattr(err, "hint", ""),
    }
