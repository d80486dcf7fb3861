"""What a well-behaved program gets, and what is refused before anything runs."""

import pytest

from distill_studio.core.errors import InvalidInput, StudioError
from distill_studio.sandbox import isolation as isolation_module
from distill_studio.sandbox import runner, seccomp
from distill_studio.sandbox.isolation import Isolation, isolation
from distill_studio.sandbox.limits import Limits, NoIsolation, Reason
from distill_studio.sandbox.runner import Sandbox

needs_sandbox = pytest.mark.skipif(
    isolation().kind is None, reason=f"no sandbox on this machine: {isolation().detail}"
)


@needs_sandbox
def test_a_program_gets_its_files_its_input_and_its_arguments():
    result = Sandbox().run(
        "import sys, helper\nprint(helper.twice(int(sys.stdin.read())), sys.argv[1:])",
        files={"helper.py": "def twice(n): return 2 * n", "data/a.txt": "ü"},
        stdin="21",
        arguments=["--fast"],
    )
    assert result.ok
    assert result.stdout == "42 ['--fast']\n"
    assert result.stderr == ""
    assert result.reason == Reason.FINISHED


@needs_sandbox
def test_a_failure_says_its_exit_code_and_its_error():
    result = Sandbox().run("import sys\nprint('so far')\nsys.exit(3)")
    assert (result.ok, result.exit_code, result.reason) == (False, 3, Reason.FAILED)
    result = Sandbox().run("1 / 0")
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr
    assert "\ufffd" in Sandbox().run("import os; os.write(1, b'\\xff')").stdout


@needs_sandbox
def test_the_usual_modules_work():
    code = (
        "import asyncio, collections, ctypes, decimal, json, math, random, re, sqlite3, statistics,"
        " tempfile, threading, unittest, zoneinfo\n"
        "async def one(): return 1\n"
        "print(asyncio.run(one()))\n"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "print(tempfile.NamedTemporaryFile().name.startswith('/scratch'))\n"
    )
    result = Sandbox().run(code)
    assert result.stdout == "1\nthread\nTrue\n", result.stderr


@needs_sandbox
@pytest.mark.parametrize("name", ["../out.py", "/etc/x", "a/../../b", ""])
def test_file_names_stay_inside(name):
    with pytest.raises(InvalidInput):
        Sandbox().run("pass", files={name: "x"})


def test_without_isolation_nothing_is_run(monkeypatch):
    nothing = Isolation(kind=None, detail="user namespaces are switched off")
    monkeypatch.setattr(runner, "isolation", lambda: nothing)
    monkeypatch.setattr(runner, "launch", lambda *a, **k: pytest.fail("it was run"))
    with pytest.raises(NoIsolation, match="user namespaces are switched off") as refusal:
        Sandbox().run("print(1)")
    assert isinstance(refusal.value, StudioError)
    assert "Nothing was run" in refusal.value.hint


def test_a_sandbox_that_is_not_tight_is_not_used(monkeypatch):
    """The probe fails where the program can reach out: here it runs, and says nothing."""
    monkeypatch.setattr(isolation_module, "_PROBE", "print('I see everything')")
    if isolation().kind is None:
        pytest.skip("no sandbox on this machine")
    found = isolation_module._first_that_works(["namespaces"])
    assert found.kind is None
    assert "not tight" in found.detail


def test_a_host_that_forbids_namespaces_is_told(monkeypatch):
    """As in a container: the helper may not make namespaces."""
    monkeypatch.setattr(isolation_module.launch.__globals__["seccomp"], "program", lambda _: b"xx")
    found = isolation_module._first_that_works(["namespaces"])
    assert found.kind is None
    assert "could not be started" in found.detail


def test_the_filter_knows_each_processor_apart():
    for machine in ("x86_64", "aarch64"):
        assert len(seccomp.program(machine)) % 8 == 0
    assert seccomp.program("x86_64") != seccomp.program("aarch64")
    assert not seccomp.is_known("riscv64")


def test_limits_are_checked():
    with pytest.raises(ValueError, match="wall_s"):
        Limits(wall_s=0)
