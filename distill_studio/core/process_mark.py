"""When a process began, told without the wall clock, which can be set while it runs."""

from pathlib import Path

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
