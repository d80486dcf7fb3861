"""What the tests of accounts share: the accounts of a folder, and a clock that they set."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distill_studio.core.allow_list import AllowList
from distill_studio.core.records.account import Outside
from distill_studio.services.accounts import Accounts

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
