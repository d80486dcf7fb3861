"""Start a sandbox of one kind, collect what it prints, end it for certain. Start from `launch`."""

import json
import os
import platform
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from distill_studio.sandbox import SCRATCH, seccomp
from distill_studio.sandbox.limits import Limits, Reason, SandboxBroken, SandboxResult

Kind = Literal["bubblewrap", "namespaces"]
ROOT = Path(__file__).parents[2]
_GRACE_S = 20.0  # the supervisor inside keeps the time; this is for one that cannot
_DRAIN_S = 5.0
# Not all of /usr: container images keep applications in /usr/src and /usr/local/share.
_SYSTEM = (
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"),
    *(f"/usr/{part}" for part in ("bin", "sbin", "lib", "lib32", "lib64", "libexec")),
    *("/usr/local/bin", "/usr/local/lib"),
)
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]);"
    " from distill_studio.sandbox import {module}; {module}.main(int(sys.argv[2]))"
)
_WHY = {"time": Reason.TIMED_OUT, "memory": Reason.MEMORY}


def launch(
    kind: Kind,
    limits: Limits,
    files: Mapping[str, str],
    stdin: str = "",
    arguments: Sequence[str] = (),
    hidden: Sequence[Path] = (),
) -> SandboxResult:
    """Run `main.py` of the files and wait for it.

    Raises:
        SandboxBroken: The sandbox could not be set up; nothing was run.
    """
    job = {
        "files": dict(files),
        "stdin": stdin,
        "arguments": list(arguments),
        "limits": limits.model_dump(),
        "python": interpreter(),
        "binds": visible_paths(),
        "hidden": [str(path.resolve()) for path in hidden],
        "seccomp": seccomp.program(platform.machine()).hex(),
        "uid": None,
    }
    started = time.monotonic()
    status_r, status_w = os.pipe()
    with os.fdopen(_as_file(json.dumps(job)), "rb") as request:
        process = subprocess.Popen(
            _command(kind, job, status_w),
            stdin=request,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(status_w,),
            cwd="/",
            env={},
            start_new_session=True,
        )
    os.close(status_w)
    collector = _Collector(process, status_r, limits)
    try:
        collector.collect(started + limits.wall_s + _GRACE_S)
    finally:
        collector.end()
    return collector.result(time.monotonic() - started)


def interpreter() -> str:
    """The real Python behind a virtual environment."""
    return os.path.realpath(sys.executable)


def visible_paths() -> list[str]:
    """What of the host the program may read: the system's libraries and the interpreter."""
    prefix = Path(sys.base_prefix).resolve()
    own = [str(prefix / part) for part in ("bin", "lib")]
    paths = [path for path in (*_SYSTEM, *own) if os.path.lexists(path)]
    return [path for path in dict.fromkeys(paths) if not _is_below_another(path, paths)]


def _is_below_another(path: str, paths: Sequence[str]) -> bool:
    return any(path != other and Path(path).is_relative_to(other) for other in paths)


def _as_file(text: str) -> int:
    """A file without a name, so that no pipe has to be fed."""
    fd = os.memfd_create("job", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(text.encode("utf-8", "surrogatepass"))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _command(kind: Kind, job: dict[str, Any], status_fd: int) -> list[str]:
    module = "jail" if kind == "namespaces" else "inside"
    boot = _BOOT.format(module=module)
    python = [interpreter(), "-I", "-S", "-B", "-c", boot]
    if kind == "namespaces":
        return [*python, str(ROOT), str(status_fd)]
    return [*_bubblewrap(job), *python, "/studio", str(status_fd)]


def _bubblewrap(job: dict[str, Any]) -> list[str]:
    """The same tree as `jail` makes, in bubblewrap's words."""
    command = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--die-with-parent",
        "--clearenv",
    ]
    command += ["--cap-drop", "ALL", "--hostname", "sandbox"]
    for path in job["binds"]:
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind", path, path]
    for name in ("null", "zero", "full", "random", "urandom"):
        command += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    package = ROOT / "distill_studio"
    for part in ("__init__.py", "sandbox"):
        command += ["--ro-bind", str(package / part), f"/studio/distill_studio/{part}"]
    size = str(job["limits"]["scratch_mib"] * 2**20)
    command += ["--proc", "/proc", "--remount-ro", "/proc"]
    command += ["--size", size, "--perms", "0777", "--tmpfs", SCRATCH]
    if not any(Path(path).is_relative_to("/tmp") for path in job["binds"]):
        command += ["--symlink", SCRATCH, "/tmp"]
    for path in job["hidden"]:
        if any(Path(path).is_relative_to(shown) for shown in job["binds"]):
            command += ["--tmpfs", path, "--remount-ro", path]
    return [*command, "--remount-ro", "/", "--chdir", SCRATCH, "--"]


class _Collector:
    """Reads the pipes of one run up to their caps."""

    def __init__(self, process: subprocess.Popen[bytes], status_r: int, limits: Limits) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._pipes = {
            process.stdout.fileno(): "stdout",
            process.stderr.fileno(): "stderr",
            status_r: "status",
        }
        self._status_r = status_r
        self._caps = dict.fromkeys(("stdout", "stderr"), limits.output_kib * 1024)
        self._caps["status"] = 64 * 1024
        self._seen = {name: bytearray() for name in self._caps}
        self._reason: Reason | None = None

    def collect(self, deadline: float) -> None:
        """Read until all is closed, too much was written, or time is up."""
        with selectors.DefaultSelector() as selector:
            for pipe in self._pipes:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    if self._reason is not None:
                        return
                    self._reason = Reason.TIMED_OUT
                    deadline = self._kill()
                for key, _ in ready:
                    if not self._read(key.fd):
                        selector.unregister(key.fd)
                if self._reason is None and self._is_full():
                    self._reason = Reason.OUTPUT
                    deadline = self._kill()

    def end(self) -> None:
        """Nothing of the run is left after this."""
        self._kill()
        self._process.wait()
        os.close(self._status_r)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def result(self, wall_s: float) -> SandboxResult:
        """What came of it.

        Raises:
            SandboxBroken: The program was never started.
        """
        out, err = (self._text(name) for name in ("stdout", "stderr"))
        lines = self._seen["status"].split(b"\n")
        status = json.loads(lines[0]) if len(lines) > 1 else {}
        if "broken" in status or (not status and self._reason is None and not out):
            raise SandboxBroken(
                f"The sandbox could not be set up: {status.get('broken') or err[-300:]}",
                "The code was not run. `python -m distill_studio doctor` says what is missing.",
            )
        code = int(status.get("exit", -1))
        reason = self._reason or _WHY.get(status.get("why", "")) or _reason(code, err, bool(status))
        return SandboxResult(
            ok=reason == Reason.FINISHED,
            exit_code=code,
            stdout=out,
            stderr=err,
            reason=reason,
            wall_s=wall_s,
        )

    def _read(self, pipe: int) -> bool:
        """False at the end of the pipe. What exceeds the cap by more than one piece is dropped."""
        piece = os.read(pipe, 65536)
        name = self._pipes[pipe]
        if len(self._seen[name]) <= self._caps[name]:
            self._seen[name] += piece
        return bool(piece)

    def _is_full(self) -> bool:
        return any(len(self._seen[name]) > cap for name, cap in self._caps.items())

    def _text(self, name: str) -> str:
        return self._seen[name][: self._caps[name]].decode("utf-8", "replace")

    def _kill(self) -> float:
        """Kill the helper and with it the namespace; until when its pipes may still speak."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        return time.monotonic() + _DRAIN_S


def _reason(code: int, stderr: str, is_reported: bool) -> Reason:
    if not is_reported:
        return Reason.KILLED
    if code == 0:
        return Reason.FINISHED
    if code == 128 + signal.SIGXCPU:
        return Reason.CPU
    if stderr.rstrip().rpartition("\n")[2].startswith("MemoryError"):
        return Reason.MEMORY
    return Reason.KILLED if code > 128 else Reason.FAILED
