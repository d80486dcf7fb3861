"""Attempts to get out of the sandbox. Each harmless one is first seen to succeed outside it."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from distill_studio.sandbox.isolation import isolation
from distill_studio.sandbox.limits import Limits, Reason, SandboxResult
from distill_studio.sandbox.runner import Sandbox

pytestmark = pytest.mark.skipif(
    isolation().kind is None, reason=f"no sandbox on this machine: {isolation().detail}"
)
SECRET = "sk-test-4f1c7d"


def inside(code: str, **limits: float) -> SandboxResult:
    return Sandbox(Limits(**{"wall_s": 60, **limits})).run(code)  # a busy machine is slow


def outside(code: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What the same code prints as an ordinary process."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return run.stdout.strip()


def left_behind(mark: str) -> list[str]:
    """Processes of this machine whose command line holds `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found


@pytest.fixture
def server():
    """A server on the loopback interface, TCP and abstract Unix socket."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        name = f"\0studio-test-{os.getpid()}"
        unix.bind(name)
        unix.listen()
        yield tcp.getsockname()[1], name


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_no_way_to_servers_of_this_machine(family, server, tmp_path):
    port, name = server
    address = ("127.0.0.1", port) if family == "tcp" else name
    code = (
        f"import socket\ns = socket.socket(socket.AF_{'INET' if family == 'tcp' else 'UNIX'})\n"
        f"s.settimeout(3)\ns.connect({address!r})\nprint('connected')\n"
    )
    assert outside(code, tmp_path) == "connected"
    result = inside(code)
    assert "connected" not in result.stdout
    assert result.reason == Reason.FAILED


@pytest.mark.parametrize(
    "connect",
    [
        "socket.create_connection(('1.1.1.1', 53), timeout=3)",
        "socket.create_connection(('2606:4700:4700::1111', 53), timeout=3)",
        "socket.getaddrinfo('example.com', 443)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))",
        "socket.socket(getattr(socket, 'AF_VSOCK', 40), socket.SOCK_STREAM)",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    ],
)
def test_no_way_out(connect):
    result = inside(f"import socket\n{connect}\nprint('got out')\n")
    assert result.reason == Reason.FAILED
    assert "OSError" in result.stderr or "gaierror" in result.stderr, result.stderr


def test_the_environment_holds_no_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    code = "import os; print(sorted(os.environ.values()))"
    assert SECRET in outside(code, tmp_path)
    result = inside(code)
    assert result.ok
    assert SECRET not in result.stdout


def test_no_process_of_this_machine_can_be_read(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    code = (
        "import glob\n"
        "for path in [*glob.glob('/proc/[0-9]*/environ'), *glob.glob('/proc/[0-9]*/cmdline'),"
        " '/proc/1/environ', f'/proc/PID/environ', '/proc/1/maps', '/proc/1/mem']:\n"
        "    try:\n"
        "        print(path, open(path, 'rb').read(4096))\n"
        "    except OSError:\n"
        "        pass\n"
    ).replace("PID", str(os.getpid()))
    assert SECRET in outside(code, tmp_path)
    result = inside(code)
    assert result.ok
    assert SECRET not in result.stdout
    assert "/proc/1/environ" not in result.stdout
    assert "/proc/1/maps" not in result.stdout
    assert f"/proc/{os.getpid()}/" not in result.stdout


def test_the_supervisors_files_are_closed_to_the_program():
    code = (
        "import os\n"
        "for pid in os.listdir('/proc'):\n"
        "    if pid.isdigit() and int(pid) != os.getpid():\n"
        "        for what in ('fd', 'root', 'cwd'):\n"
        "            try:\n"
        "                print(pid, os.listdir(f'/proc/{pid}/{what}'))\n"
        "            except OSError:\n"
        "                pass\n"
        "print('own', sorted(os.listdir('/proc/self/fd')))\n"
    )
    result = inside(code)
    assert result.stdout == "own ['0', '1', '2', '3']\n"  # 3 is the listing itself


def test_the_file_system_is_read_only_but_for_scratch():
    code = (
        "import os, sys\n"
        "for folder in ('/', '/usr', '/usr/lib', '/dev', '/proc', '/etc', '/root', '/home',"
        " os.path.dirname(os.__file__), os.path.dirname(sys.executable)):\n"
        "    try:\n"
        "        open(os.path.join(folder, 'mine'), 'w')\n"
        "        print('wrote', folder)\n"
        "    except OSError:\n"
        "        pass\n"
        "open('here', 'w').write('x'); open('/tmp/there', 'w').write('x')\n"
        "print(sorted(os.listdir('/scratch')))\n"
    )
    result = inside(code)
    assert result.stdout == "['here', 'main.py', 'there']\n", result.stderr


def test_every_mount_but_scratch_is_read_only():
    """Also where the program is the owner of what it sees, as when the app is not run by root."""
    result = inside("print(open('/proc/self/mountinfo').read())")
    mounts = [line.split() for line in result.stdout.splitlines() if line]
    assert len(mounts) > 5
    writable = [fields[4] for fields in mounts if "ro" not in fields[5].split(",")]
    assert writable == ["/scratch"]
    assert all("nosuid" in fields[5].split(",") for fields in mounts)


def test_the_home_and_the_data_folder_are_not_there(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "studio.duckdb").write_text(SECRET)
    readable = [data / "studio.duckdb", Path.home(), Path(__file__), Path("/etc/passwd")]
    code = (
        f"import os\nfor path in {[str(p) for p in readable]}:\n"
        "    try:\n"
        "        is_folder = os.path.isdir(path)\n"
        "        print(path, os.listdir(path) if is_folder else repr(open(path).read()[:30]))\n"
        "    except OSError:\n"
        "        pass\n"
    )
    assert outside(code, tmp_path).count("\n") == len(readable) - 1  # all of them
    result = inside(code)
    assert result.ok
    seen = [line for line in result.stdout.splitlines() if not line.startswith(str(Path.home()))]
    assert seen == []
    # The home folder appears only as the way to an interpreter that lives there.
    assert SECRET not in result.stdout
    assert ".ssh" not in result.stdout
    assert ".bash" not in result.stdout


def test_a_hidden_folder_is_empty_even_where_the_interpreter_lives():
    folder = Path(os.__file__).parent / "json"
    code = f"import os; print(os.listdir({str(folder)!r}))"
    limits = Limits(wall_s=60)
    assert "decoder.py" in Sandbox(limits).run(code).stdout
    assert Sandbox(limits, hidden=[folder]).run(code).stdout == "[]\n"


def test_links_lead_nowhere(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    code = (
        "import os\n"
        f"os.symlink({str(secret)!r}, 'link')\n"
        "os.symlink('/proc/1/root', 'root')\n"
        "os.symlink('/proc/self/root/../../..', 'up')\n"
        "for path in ('link', 'root' + SECRET, 'up' + SECRET, '/old' + SECRET):\n"
        "    try:\n"
        "        print(open(path).read())\n"
        "    except OSError:\n"
        "        pass\n"
        "try:\n"
        "    os.link('/usr/bin/env', 'hard')\n"
        "except OSError:\n"
        "    print('no hard link')\n"
    ).replace("SECRET", repr(str(secret)))
    result = inside(code)
    assert result.stdout == "no hard link\n", result


def test_no_signal_reaches_anyone(tmp_path):
    victim = subprocess.Popen(["sleep", "600"])
    try:
        code = (
            "import os, signal\n"
            f"for pid in ({victim.pid}, {os.getpid()}, 1, os.getppid()):\n"
            "    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):\n"
            "        try:\n"
            "            os.kill(pid, number)\n"
            "        except OSError:\n"
            "            pass\n"
            "print('still here')\n"
        )
        result = inside(code)
        time.sleep(0.1)
        assert victim.poll() is None
        if isolation().kind == "namespaces":
            assert result.stdout == "still here\n"
            assert result.ok
    finally:
        victim.kill()
        victim.wait()


def test_a_fork_bomb_fizzles():
    code = (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
    )
    started = time.monotonic()
    result = inside(code, wall_s=1, processes=16)
    assert result.reason in (Reason.TIMED_OUT, Reason.MEMORY)
    assert time.monotonic() - started < 30
    count = "import os\nn = 0\ntry:\n    while n < 500:\n        n += 1\n" + (
        "        if os.fork() == 0:\n            import time; time.sleep(30); os._exit(0)\n"
        "except OSError:\n    print(n)\n"
    )
    result = inside(count, processes=16)
    assert result.ok
    assert int(result.stdout) <= 16


@pytest.mark.parametrize(
    "hog",
    [
        "x = bytearray(2 * 2**30)",
        "x = []\nwhile True: x.append('x' * 2**20)",
        pytest.param(
            "import os\nfor _ in range(8): os.fork()\n"
            "x = []\nwhile True: x.append(bytearray(2**20))",
            marks=pytest.mark.slow,
        ),
        "import mmap\nx = []\nwhile True:\n"
        "    x.append(mmap.mmap(-1, 2**24)); x[-1].write(b'x' * 2**24)",
    ],
    ids=["at once", "bit by bit", "by many", "shared"],
)
def test_memory_ends(hog):
    result = inside(hog, memory_mib=128, processes=16)
    assert result.reason in (Reason.MEMORY, Reason.KILLED), result  # before its time is up


def test_memory_that_belongs_to_no_process_is_refused():
    code = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.shmget(0, 2**20, 0o1600), ctypes.get_errno())\n"
        "try:\n    os.memfd_create('x')\nexcept OSError as err:\n    print(err.errno)\n"
    )
    assert inside(code).stdout == "-1 1\n1\n"


def test_no_new_namespaces_no_tracing_no_mounts():
    code = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "for call in ('unshare(0x10000000)', 'unshare(0x00020000)', 'ptrace(16, 1, 0, 0)',"
        ' \'mount(b"x", b"/scratch", b"tmpfs", 0, 0)\', \'chroot(b"/scratch")\', \'setuid(0)\','
        " 'umount2(b\"/scratch\", 2)', 'syscall(425, 1, 0)', 'syscall(435, 0, 0)'):\n"
        "    print(eval('libc.' + call), end=' ')\n"
        "print(open('/proc/self/status').read())\n"
    )
    result = inside(code)
    assert result.stdout.startswith("-1 -1 -1 -1 -1 -1 -1 -1 -1"), result
    assert "CapEff:\t0000000000000000" in result.stdout
    assert "CapBnd:\t0000000000000000" in result.stdout
    assert "NoNewPrivs:\t1" in result.stdout
    assert "Seccomp:\t2" in result.stdout


def test_an_endless_loop_is_cut_off():
    started = time.monotonic()
    result = inside("while True: pass", wall_s=1)
    assert (result.ok, result.reason) == (False, Reason.TIMED_OUT)
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_processor_time_is_counted_apart():
    assert inside("while True: pass", wall_s=120, cpu_s=1).reason == Reason.CPU


def test_what_runs_in_the_background_dies_too():
    mark = f"studio-test-{os.getpid()}-{time.monotonic_ns()}"
    code = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', '{mark}'],"
        " start_new_session=True)\nprint('left')\n"
    )
    result = inside(code)
    assert result.stdout == "left\n"
    assert result.ok, "nobody waited for it"
    assert left_behind(mark) == []


@pytest.mark.slow
def test_a_program_that_ignores_signals_dies_when_time_is_up():
    code = (
        "import signal, os, time\n"
        "for n in range(1, 65):\n"
        "    try:\n        signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError):\n"
        "        pass\n"
        "os.fork(); os.setsid() if os.getpid() != os.getpgrp() else None\n"
        "time.sleep(60)\n"
    )
    started = time.monotonic()
    assert inside(code, wall_s=1).reason == Reason.TIMED_OUT
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_of_output_is_cut(stream):
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 65536)"
    result = inside(code, output_kib=64)
    assert result.reason == Reason.OUTPUT
    assert len(getattr(result, stream)) == 64 * 1024


@pytest.mark.slow
def test_the_scratch_folder_fills_up():
    code = (
        "def fill():\n"
        "    for i in range(100):\n"
        "        with open(f'f{i}', 'wb') as f:\n"
        "            f.write(bytes(2**20))\n"
        "try:\n    fill()\nexcept OSError as err:\n    print(err.errno)\n"
    )
    assert inside(code, scratch_mib=4).stdout == "28\n"  # no space left
    assert inside("open('f', 'wb').write(bytes(3 * 2**20))", file_mib=2).reason != Reason.FINISHED


def test_standard_input_cannot_grow():
    code = "import os\ntry:\n    os.write(0, b'x')\nexcept OSError as err:\n    print(err.errno)\n"
    assert inside(code).stdout == "1\n"


@pytest.mark.slow
def test_many_threads_at_once_leave_nothing_open():
    sandbox = Sandbox(Limits(wall_s=60))
    sandbox.run("print(1)")
    before = len(os.listdir("/proc/self/fd"))
    results: list[SandboxResult] = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(sandbox.run(f"print({i})")))
        for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.stdout for r in results) == [f"{i}\n" for i in range(6)]
    assert len(os.listdir("/proc/self/fd")) <= before
