"""The command line in this process, beside a running app and without one."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from distill_studio.cli.app import main


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document it printed."""
        return json.loads(self.out)


Studio = Callable[..., Ran]


@pytest.fixture(params=["stopped", "running"])
def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    starter_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Path, str]:
    """A data folder and an empty workspace: once with no app, once with a real app process."""
    monkeypatch.setenv("DISTILL_STUDIO_CACHE", str(starter_cache))
    if request.param == "stopped":
        return tmp_path / "home", "main"
    app = request.getfixturevalue("running_app")
    workspace = f"cli-{uuid.uuid4().hex}"
    httpx.post(f"{app.url}/api/workspaces", json={"name": workspace}, timeout=60).raise_for_status()
    return app.home, workspace


@pytest.fixture
def home(place: tuple[Path, str]) -> Path:
    """The data folder."""
    return place[0]


@pytest.fixture
def studio(place: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> Studio:
    """`studio("list", "--json")` runs a command line there; fails when it should not."""

    def run(*words: str, code: int = 0) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["--home", str(place[0]), "--workspace", place[1], *words])
        printed = capsys.readouterr()
        ran = Ran(int(left.value.code or 0), printed.out, printed.err)
        assert ran.code == code, f"{words}: {ran}"
        return ran

    return run
