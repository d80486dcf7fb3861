"""When a process began, told without the wall clock, which can be set while it runs."""

from pathlib import Path

import psutil

_TOLERANCE_S = 1.0
_START_TICKS = 22 - 3  # field 22 of /proc/PID/stat; what follows the name begins with field 3
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def start_mark(pid: int) -> str:
    """Boot and ticks since it, `BOOT_ID:TICKS`; '' where there is no such process, or no Linux."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        boot = _BOOT_ID.read_text(encoding="ascii").strip()
        ticks = int(stat.rpartition(b")")[2].split()[_START_TICKS])  # a name may hold blanks
    except (OSError, IndexError, ValueError):
        return ""
    return f"{boot}:{ticks}"


def is_running(pid: int, started: float, mark: str) -> bool:
    """True while the process of this pid that began then runs; a later one of that pid is another.

    Args:
        pid: Process id.
        started: Its start, epoch seconds; decides where there is no mark.
        mark: From `start_mark`; '' = not known.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if mark and (now := start_mark(pid)):
            return now == mark
        return bool(abs(process.create_time() - started) < _TOLERANCE_S)
    except psutil.Error:
        return False
