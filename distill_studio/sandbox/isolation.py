"""Which isolation this machine offers, found by trying it. Start from `isolation`."""

import functools
import os
import platform
import shutil
import socket
import sys
from collections.abc import Sequence

from pydantic import Field

from distill_studio.core.records import Record
from distill_studio.sandbox import seccomp
from distill_studio.sandbox.launch import Kind, launch
from distill_studio.sandbox.limits import Limits, SandboxBroken

# Says "isolated" only if our server is out of reach, there is no network device but the namespace's
# own loopback, no file can be written and no process of the host is seen.
_PROBE = """\
import os, socket, sys
def is_cut_off():
    with open("/proc/self/net/dev") as file:
        if {line.partition(":")[0].strip() for line in file.readlines()[2:]} - {"lo"}:
            return False
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=1)
    except OSError:
        return True
    return False
def is_writable(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    return True
others = [p for p in os.listdir("/proc") if p.isdigit() and int(p) > 9]
if is_cut_off() and not is_writable("/probe") and is_writable("probe") and not others:
    print("isolated")
"""


class Isolation(Record):
    """What separates foreign code from this machine."""

    kind: Kind | None = Field(description="None when there is nothing: code is then not run.")
    detail: str = Field(description="What is used, or why there is none.")


@functools.cache
def isolation() -> Isolation:
    """What is used here; tried once per process, with a harmless program."""
    if sys.platform != "linux":
        return Isolation(kind=None, detail=f"needs Linux, this is {platform.system()}")
    if not seccomp.is_known(platform.machine()):
        return Isolation(kind=None, detail=f"does not know {platform.machine()} processors")
    return _first_that_works(_candidates())


def _candidates() -> list[Kind]:
    """Bubblewrap where present; not for root, whom process limits do not bind inside it."""
    is_bubblewrap_here = shutil.which("bwrap") is not None and os.geteuid() != 0
    return ["bubblewrap", "namespaces"] if is_bubblewrap_here else ["namespaces"]


def _first_that_works(kinds: Sequence[Kind]) -> Isolation:
    refused = []
    for kind in kinds:
        why = _try(kind)
        if not why:
            return Isolation(kind=kind, detail=_DETAIL[kind])
        refused.append(f"{kind}: {why}")
    return Isolation(kind=None, detail="; ".join(refused))


def _try(kind: Kind) -> str:
    """'' when a program runs isolated, else why not."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = str(server.getsockname()[1])
            result = launch(kind, Limits(wall_s=20), {"main.py": _PROBE}, arguments=[port])
    except SandboxBroken as err:
        return err.user_message.rpartition("set up: ")[2].splitlines()[0]
    except OSError as err:
        return str(err)
    return "" if result.stdout == "isolated\n" else f"is not tight ({result.reason})"


_DETAIL: dict[Kind, str] = {
    "bubblewrap": "bubblewrap, a filter of system calls, and limits",
    "namespaces": "user, mount, process and network namespaces, a filter of system calls, limits",
}
