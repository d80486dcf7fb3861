"""Answers that hold until the store changes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from distill_studio.store.database import Database

T = TypeVar("T")


class Memo:
    """Keeps what was computed from the store; the next committed write forgets all of it.

    Args:
        db: The store whose `version` counts writes.
        size: Answers kept at most, the latest used ones.
    """

    def __init__(self, db: Database, size: int = 32) -> None:
        self._db, self._size = db, size
        self._version = -1
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives for `key`; made again only after a write."""
        version = self._db.version
        with self._lock:
            if version != self._version:
                self._kept.clear()
                self._version = version
            if key in self._kept:
                self._kept.move_to_end(key)
                return cast(T, self._kept[key])
        made = make()
        with self._lock:
            if version == self._version == self._db.version:  # nothing was written meanwhile
                self._kept[key] = made
                while len(self._kept) > self._size:
                    self._kept.popitem(last=False)
        return made
