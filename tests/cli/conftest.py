"""The command line in this process, beside a running app and without one."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
def home(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    starter_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A data folder, once with no app on it and once with a real app process."""
    folder = tmp_path / "home"
    monkeypatch.setenv("DISTILL_STUDIO_CACHE", str(starter_cache))
    if request.param == "running":
        request.getfixturevalue("start_app")(folder)
    return folder


@pytest.fixture
def studio(home: Path, capsys: pytest.CaptureFixture[str]) -> Studio:
    """`studio("list", "--json")` runs a command line on `home`; fails when it should not."""

    def run(*words: str, code: int = 0) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["--home", str(home), *words])
        printed = capsys.readouterr()
        ran = Ran(int(left.value.code or 0), printed.out, printed.err)
        assert ran.code == code, f"{words}: {ran}"
        return ran

    return run
