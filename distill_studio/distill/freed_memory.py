"""Keeps what was freed for the next update, on a CPU."""

import ctypes
import logging
import os

logger = logging.getLogger(__name__)
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_KEPT_BYTES = 2**31 - 1  # the most that mallopt takes


def keep_freed_memory() -> bool:
    """Let malloc keep freed blocks rather than hand each back to the system.

    An update frees and asks for the same buffers again, many of them large. glibc maps each large
    one anew, and the system then clears all its pages, a good part of an update's time. To be
    called before torch makes its first tensor: torch is told to take large tensors in whole pages,
    of 2 MiB where the system has them. Else glibc before 2.38 seldom fits an aligned block into a
    freed one of its own size, and a process grows.
    `tests.benchmarks.freed_memory` measures both together. Blocks on a GPU are torch's own affair.

    Returns:
        False where the C library has no such setting (macOS, Windows, musl): nothing is changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    done = bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
    if done:
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    else:
        logger.info("malloc does not keep freed blocks: mallopt refused")
    return done
