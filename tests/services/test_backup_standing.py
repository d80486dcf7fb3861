"""What the threads of a backup tell: no failure is lost, none outlives its cause."""

import errno
import threading
from datetime import timedelta
from typing import Any

import pytest

from distill_studio.backup import BackupError
from distill_studio.core.records.backup import BackupState
from distill_studio.core.records.base import utc_now
from distill_studio.services.backup_standing import Standing

STUCK = BackupError("The copy is stuck.", "Wait.", code="gone")


class Held(BackupState):
    """A state whose first copy takes until others had their chance."""

    def model_copy(self, **how: Any) -> "Held":
        made = super().model_copy(**how)
        if threading.current_thread().name == "slow":
            COPYING.set()
            GO_ON.wait(0.5)
        return made


COPYING, GO_ON = threading.Event(), threading.Event()


@pytest.fixture
def standing() -> Standing:
    return Standing(BackupState(is_on=True, place="there", status="starting"))


def test_what_two_threads_tell_at_once_is_all_kept() -> None:
    COPYING.clear()
    GO_ON.clear()
    standing = Standing(Held(is_on=True, status="starting"))
    parts, whole = utc_now(), utc_now() + timedelta(seconds=1)

    def tell_whole() -> None:
        standing.failed("whole", STUCK)
        standing.told(whole_at=whole)
        GO_ON.set()

    slow = threading.Thread(
        target=standing.ok, args=("parts",), kwargs={"backed_up_at": parts}, name="slow"
    )
    slow.start()
    assert COPYING.wait(60)
    other = threading.Thread(target=tell_whole)
    other.start()
    for thread in (slow, other):
        thread.join(60)
    shown = standing.shown()
    assert (shown.status, shown.message) == ("behind", "The copy is stuck.")
    assert (shown.backed_up_at, shown.whole_at) == (parts, whole)


def test_a_failure_is_shown_until_the_same_work_goes_well(standing: Standing) -> None:
    standing.failed("whole", STUCK)
    since = standing.shown().since
    standing.ok("parts", backed_up_at=utc_now())
    standing.told(whole_at=utc_now())
    shown = standing.shown()
    assert (shown.status, shown.code, shown.hint) == ("behind", "gone", "Wait.")
    standing.failed("parts", BackupError("Another app has it.", code="held"))
    shown = standing.shown()
    assert (shown.status, shown.message, shown.since) == ("refused", "Another app has it.", since)
    standing.ok("parts")
    assert standing.shown().message == "The copy is stuck."  # again, not the one that is over
    standing.ok("whole")
    shown = standing.shown()
    assert (shown.status, shown.code, shown.message, shown.hint) == ("ok", "", "", "")
    assert shown.since is None


def test_it_waits_longer_each_time_and_as_long_as_it_is_told(standing: Standing) -> None:
    waits = [standing.failed("whole", STUCK) for _ in range(6)]
    assert waits == [2.0, 5.0, 15.0, 60.0, 180.0, 180.0]
    assert standing.failed("parts", STUCK) == 2.0  # each work by itself
    standing.ok("whole")
    for wish, wait in ((100.0, 100.0), (1e9, 3600.0)):
        assert standing.failed("whole", BackupError("Too often.", retry_after_s=wish)) == wait


def test_a_full_disk_is_told_in_words(standing: Standing) -> None:
    standing.failed("whole", OSError(errno.ENOSPC, "No space left on device"))
    assert standing.shown().code == "full"
    assert "disk of the data folder is full" in standing.shown().message
