"""The supervisor inside the sandbox: places the files, limits the program, waits, reports.

Standard library only. Runs where the namespaces exist already: as process 1 below `jail`, or as
bubblewrap's child through `main`.
"""

import ctypes
import fcntl
import json
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from distill_studio.sandbox import SCRATCH

ENVIRONMENT = {
    "HOME": SCRATCH,
    "TMPDIR": SCRATCH,
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the same program gives the same verdict again
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
}
_MIB = 2**20
_POLL_S = 0.05
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_SECCOMP = 4, 24, 22
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63
libc = ctypes.CDLL(None, use_errno=True)


def main(status_fd: int) -> None:
    """Bubblewrap's child: the job stands on stdin."""
    job = json.loads(os.fdopen(0, "rb", closefd=False).read())
    run(job, status_fd)


def run(job: dict[str, Any], status_fd: int) -> None:
    """Run the job to its end and write one line of JSON to `status_fd`.

    With {"exit": code, "why": ""} the program ended by itself; `why` says who ended it otherwise;
    {"broken": text} means that it was never started.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # process 1 gets only signals it has handlers for
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no reading of our memory, environment or files
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        _place_files(job)
        stdin = _stdin(job["stdin"])
        child = os.fork()
    except OSError as err:
        report(status_fd, {"broken": f"the files could not be placed: {err}"})
        return
    if child == 0:
        _become(job, stdin, status_fd)
    report(status_fd, _wait(child, job))


def report(status_fd: int, status: dict[str, Any]) -> None:
    """One line to whoever started us."""
    os.write(status_fd, json.dumps(status).encode() + b"\n")


def check(result: int, what: str) -> None:
    """Raise what the C library's `errno` says.

    Raises:
        OSError: `result` is not 0.
    """
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _place_files(job: dict[str, Any]) -> None:
    for name, content in job["files"].items():
        path = Path(SCRATCH, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", errors="surrogatepass")


def _stdin(text: str) -> int:
    """The program's standard input, which it can read and not change."""
    fd = os.memfd_create("stdin", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(text.encode("utf-8", "surrogatepass"))
    os.lseek(fd, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def _become(job: dict[str, Any], stdin: int, status_fd: int) -> None:
    """Turn this child into the program, with nothing left that it could abuse. Never returns."""
    try:
        os.setsid()
        os.dup2(stdin, 0)
        keep = max(status_fd, 3)
        os.closerange(3, keep)
        os.closerange(keep + 1, 4096)
        os.set_inheritable(status_fd, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.chdir(SCRATCH)
        os.umask(0o077)
        os.nice(5)
        _set_limits(job["limits"])
        _drop_privileges(job["uid"])
        _load_filter(bytes.fromhex(job["seccomp"]))
        command = [job["python"], "-s", "-B", "-X", "utf8", "main.py", *job["arguments"]]
        os.execve(job["python"], command, ENVIRONMENT)
    except (OSError, ValueError) as err:
        report(status_fd, {"broken": f"the program could not be started: {err}"})
    finally:
        os._exit(127)


def _set_limits(limits: dict[str, Any]) -> None:
    cpu_s = math.ceil(limits["cpu_s"])
    memory = limits["memory_mib"] * _MIB
    for which, soft, hard in (
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_AS, 2 * memory, 2 * memory),  # addresses; real memory is watched below
        (resource.RLIMIT_FSIZE, limits["file_mib"] * _MIB, limits["file_mib"] * _MIB),
        (resource.RLIMIT_NPROC, limits["processes"], limits["processes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"]),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        resource.setrlimit(which, (soft, hard))


def _drop_privileges(uid: int | None) -> None:
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    check(libc.capset(header, none), "capset")
    check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _load_filter(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    loaded = _FilterProgram(len(program) // 8, ctypes.addressof(buffer))
    check(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(loaded), 0, 0), "seccomp")


def _wait(child: int, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for the program; stop waiting when it is too slow or too large.

    What still runs afterwards dies with the namespace when the supervisor leaves.
    """
    limits = job["limits"]
    deadline = time.monotonic() + limits["wall_s"]
    while True:
        signal.sigtimedwait([signal.SIGCHLD], _POLL_S)
        if (code := _reap(child)) is not None:
            return {"exit": code, "why": ""}
        if time.monotonic() > deadline:
            return {"exit": -1, "why": "time"}
        if _resident_bytes() > limits["memory_mib"] * _MIB:
            return {"exit": -1, "why": "memory"}


def _reap(child: int) -> int | None:
    """The program's exit code once it has ended; buries orphans on the way."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _resident_bytes() -> int:
    """Memory of all processes but ours; pages they share count once for each."""
    ours = {"1", str(os.getpid())}
    pages = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name not in ours:
            try:
                with open(f"/proc/{name}/statm", encoding="ascii") as file:
                    pages += int(file.read().split()[1])
            except OSError:
                continue  # it has ended meanwhile
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main(int(sys.argv[1]))
