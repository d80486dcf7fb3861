"""How much memory an open store may take. Start at `default_memory_mib`.

DuckDB's own default is 80% of the machine for each open file: with several workspaces open beside
models that is more than there is. Beyond its limit DuckDB works on disk, in a folder beside the
file.
"""

from pathlib import Path

import psutil

_SHARE = 20  # of the memory: a million pairs need some 700 MiB (tests/benchmarks/curate.py)
_LEAST_MIB, _MOST_MIB = 1024, 8192
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def default_memory_mib() -> int:
    """A twentieth of what this machine or container has, 1 to 8 GiB, and never above half of it."""
    total = machine_memory_mib()
    return min(max(total // _SHARE, _LEAST_MIB), _MOST_MIB, total // 2)


def machine_memory_mib() -> int:
    """The machine's memory, or its container's where that is less."""
    found = [int(psutil.virtual_memory().total)]
    for limit in _CGROUP_LIMITS:
        try:
            found.append(int(limit.read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(found) // 2**20
