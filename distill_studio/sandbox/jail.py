"""The helper that builds the sandbox out of Linux namespaces. Standard library only.

Started by `launch` as a process of its own. It enters new user, mount, process, network, IPC,
host name and cgroup namespaces, makes a file tree that holds the interpreter read-only and one
scratch folder, and runs `inside` there as process 1: when that ends, the kernel kills the rest.

As root the program gets another, unprivileged user of the host (65534); else it stays the
caller's own user, without any capability.
"""

import ctypes
import json
import os
import signal
from pathlib import Path
from typing import Any

from distill_studio.sandbox import SCRATCH, inside
from distill_studio.sandbox.inside import check, libc

_NEW_NAMESPACES = (
    0x10000000  # user
    | 0x00020000  # mounts
    | 0x20000000  # processes
    | 0x40000000  # network
    | 0x08000000  # System V and message queues
    | 0x04000000  # host name
    | 0x02000000  # cgroup view
)
_NOBODY = 65534
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 16384, 1 << 19
_MNT_DETACH, _AT_RECURSIVE, _AT_FDCWD = 2, 0x8000, -100
_SYS_MOUNT_SETATTR, _SYS_PIVOT_ROOT = 442, {"x86_64": 155, "aarch64": 41}
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOEXEC = 1, 2, 4, 8
_PR_SET_PDEATHSIG = 1
_DEVICES = ("null", "zero", "full", "random", "urandom")
_BASE, _OLD = "/tmp", "/old"


def main(status_fd: int) -> None:
    """Read the job from stdin, run it, report to `status_fd`."""
    job = json.loads(os.fdopen(0, "rb", closefd=False).read())
    try:
        job["uid"] = _unshare()
        first = os.fork()
    except OSError as err:
        inside.report(status_fd, {"broken": str(err)})
        return
    if first:
        os.waitpid(first, 0)
        return
    try:
        check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "parent death signal")
        _build_tree(job)
    except OSError as err:
        inside.report(status_fd, {"broken": str(err)})
        os._exit(1)
    inside.run(job, status_fd)
    os._exit(0)


def _unshare() -> int | None:
    """Enter the namespaces; the user to become there, or None to stay who we are."""
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        check(libc.unshare(_NEW_NAMESPACES), "new namespaces")
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
        return None
    # Two users need to be mapped, which only a process outside may do.
    ready_r, ready_w = os.pipe()
    outside = os.fork()
    if outside == 0:
        _map_users(os.getppid(), ready_r)
    try:
        check(libc.unshare(_NEW_NAMESPACES), "new namespaces")
        os.write(ready_w, b"1")
    finally:
        os.close(ready_w)
        _, status = os.waitpid(outside, 0)
    if status != 0:
        raise OSError("the users of the new namespace could not be mapped")
    return _NOBODY


def _map_users(pid: int, ready_r: int) -> None:
    """In the process outside: write the maps once the namespace is there. Never returns."""
    code = 1
    try:
        if os.read(ready_r, 1):
            for kind in ("uid_map", "gid_map"):
                lines = f"0 0 1\n{_NOBODY} {_NOBODY} 1\n"
                Path(f"/proc/{pid}/{kind}").write_text(lines, encoding="ascii")
            code = 0
    finally:
        os._exit(code)


def _build_tree(job: dict[str, Any]) -> None:
    """A root file system with the interpreter, read-only, and a scratch folder; nothing else."""
    limits = job["limits"]
    _mount(None, "/", None, _MS_REC | _MS_SLAVE)
    _mount("tmpfs", _BASE, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,nr_inodes=2k,mode=0755")
    os.mkdir(_BASE + _OLD)
    os.chdir(_BASE)
    pivot_root = _SYS_PIVOT_ROOT[os.uname().machine]
    check(libc.syscall(pivot_root, b".", _OLD[1:].encode()), "pivot_root")
    os.chdir("/")
    for path in job["binds"]:
        _bind(path)
    for name in _DEVICES:
        _bind_device(name)
    for folder in ("/proc", SCRATCH):
        os.mkdir(folder)
    if not os.path.lexists("/tmp"):  # it is there when the interpreter lives below it
        os.symlink(SCRATCH, "/tmp")
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount("proc", "/proc", "proc", flags, "subset=pid")
    size = f"size={limits['scratch_mib']}m,nr_inodes=4096,mode=0777"
    _mount("tmpfs", SCRATCH, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, size)
    for path in job["hidden"]:
        if os.path.isdir(path):
            _mount("tmpfs", path, "tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV, "size=4k")
    check(libc.umount2(_OLD.encode(), _MNT_DETACH), "leaving the old root")
    os.rmdir(_OLD)
    _set_attributes("/", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, is_recursive=False)


def _bind(path: str) -> None:
    """Show a folder, file or link of the host at the same place, read-only."""
    source = _OLD + path
    if os.path.islink(source):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(os.readlink(source), path)
    elif os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
        _mount(source, path, None, _MS_BIND | _MS_REC)
        _set_attributes(path, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)
    elif os.path.isfile(source):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).touch()
        _mount(source, path, None, _MS_BIND)
        _set_attributes(path, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)


def _bind_device(name: str) -> None:
    path = f"/dev/{name}"
    os.makedirs("/dev", exist_ok=True)
    Path(path).touch()
    _mount(_OLD + path, path, None, _MS_BIND)
    _set_attributes(path, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NOEXEC)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    done = libc.mount(*texts, ctypes.c_ulong(flags), data.encode() or None)
    check(done, f"mounting {target}")


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((n, ctypes.c_uint64) for n in ("set", "clear", "propagation", "userns"))


def _set_attributes(path: str, attributes: int, is_recursive: bool = True) -> None:
    """mount_setattr(2), Linux 5.12: keeps what is locked and reaches every mount below."""
    wanted = _MountAttributes(attributes, 0, 0, 0)
    done = libc.syscall(
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        path.encode(),
        _AT_RECURSIVE if is_recursive else 0,
        ctypes.byref(wanted),
        ctypes.c_size_t(ctypes.sizeof(wanted)),
    )
    check(done, f"making {path} read-only")
