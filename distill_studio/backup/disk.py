"""Whether what lies in a folder outlives the container that this runs in.

A container's own root is an overlay (or a disk that is thrown away with it); whatever lasts is
mounted into it and so has an entry of its own in the mount table. So a folder lasts when the
deepest mount that holds it is not the root and not a file system in memory. Outside containers the
root is a disk and lasts: the question is only asked on a Space.
"""

import re
from pathlib import Path
from typing import Literal

Disk = Literal["container", "mount", "network"]

_IN_MEMORY = {"tmpfs", "ramfs", "overlay", "aufs", "fuse-overlayfs"}
_NETWORK = re.compile(r"^(fuse(\..*)?|nfs.*|cifs|9p|s3fs|gcsfuse)$")


def disk_of(folder: Path, mounts: str) -> Disk:
    """Where a folder lies.

    Args:
        folder: Absolute, without links.
        mounts: The text of `/proc/self/mounts`.

    Returns:
        `container`: gone with the container. `mount`: a disk that is mounted into it. `network`:
        mounted storage that is no disk (an object store), which a database must not live on.
    """
    best, kind = "/", "overlay"
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), fields[1])
        is_above = point == "/" or folder == Path(point) or Path(point) in folder.parents
        if is_above and len(point) >= len(best):  # of two on one point the later one is seen
            best, kind = point, fields[2]
    if best == "/" or kind in _IN_MEMORY:
        return "container"
    return "network" if _NETWORK.match(kind) else "mount"


def disk_here(folder: Path) -> Disk:
    """`disk_of` on this machine; `mount` where there is no mount table to read."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "mount"
    return disk_of(folder.resolve(), mounts)
