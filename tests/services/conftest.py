"""What tests of several services share: accounts with a clock, Curate with four rows, a suite."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distill_studio.core.allow_list import AllowList
from distill_studio.core.records.account import Outside
from distill_studio.core.records.suite import Suite, SuiteScorer
from distill_studio.services.accounts import Accounts
from distill_studio.teachers.scripted import ScriptedChatModel
from tests.services.curate_rows import BEES, SHIPS, WordCounts, pair, store
from tests.services.suite_models import SUMS, Scripted, adds, adds_small, upload

Open = Callable[..., Accounts]


class Clock:
    """Says `now`, which tests move."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reopen(tmp_path: Path, clock: Clock) -> Iterator[Open]:
    """The accounts of one folder, opened anew at each call, with a list and who vouches."""
    opened: list[Accounts] = []

    def start(listed: AllowList | None = None, outside: Outside | None = None) -> Accounts:
        for one in opened:
            one.close()
        file = tmp_path / "people.sqlite"
        opened[:] = [Accounts(file, clock, listed=listed or AllowList(), outside=outside)]
        return opened[0]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def embedder(workspace, monkeypatch):
    made = WordCounts()
    monkeypatch.setattr(workspace.studio.models, "embedder", lambda *_: made, raising=False)
    return made


@pytest.fixture
def curate(workspace, embedder):
    return workspace.curate


@pytest.fixture
def bees(workspace):
    """Four rows: a, its near copy b, its equal c (but for case), and a different d."""
    return store(
        workspace,
        pair("How do bees make honey?", BEES, topic="nature"),
        pair("How do bees make their honey?", BEES + " months", topic="nature"),
        pair("how do bees make honey", BEES.lower() + ".", topic="nature"),
        pair("Why do ships float?", SHIPS, topic="physics"),
    )


@pytest.fixture
def models(workspace) -> dict[str, ScriptedChatModel]:
    """A teacher that is right, a base that knows nothing, a student of small sums."""
    models = {
        "teacher:big": ScriptedChatModel("big", adds),
        "base:raw": ScriptedChatModel("raw", lambda r: "no idea"),
        "student:small": ScriptedChatModel("small", adds_small),
    }
    workspace.evaluate.comparable = Scripted(workspace, models)
    return models


@pytest.fixture
def sums(workspace, owner, tmp_path) -> Suite:
    return workspace.suites.add(owner, upload(workspace, tmp_path, SUMS), SuiteScorer.MATH)
