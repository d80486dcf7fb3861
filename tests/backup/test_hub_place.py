"""A backup in a dataset repository, against the fake Hub: races, limits, rights, a deleted repo."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from huggingface_hub import HfApi, close_session

from distill_studio.backup.hub import HubPlace
from distill_studio.backup.place import BackupError, LeaseLost
from distill_studio.backup.records import Lease
from distill_studio.core.records.base import utc_now
from tests.fake_hub import FakeHub, online
from tests.fake_hub.repos import Entry

REPO = "ann/backup"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.user("ann")
    with online():
        yield hub
    close_session()
    hub.close()
    assert not hub.unknown


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own back-off without its seconds."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _s: None)


def place(hub: FakeHub, token: str = "hf_ann") -> HubPlace:
    return HubPlace(REPO, HfApi(endpoint=hub.url, token=token))


def lease(token: str, epoch: int = 1) -> Lease:
    return Lease(
        chain="c", epoch=epoch, token=token, owner=f"App {token}",
        until=utc_now() + timedelta(minutes=5),
    )  # fmt: skip


@pytest.fixture
def ours(hub: FakeHub) -> HubPlace:
    found = place(hub)
    found.make()
    assert found.lease() is None
    found.take(lease("a"), None)
    return found


def test_what_is_written_is_read(hub: FakeHub, ours: HubPlace, tmp_path: Path):
    assert hub.repo(REPO).private
    ours.check_private()
    big = tmp_path / "big"
    big.write_bytes(b"PAR1" * 3_000_000)
    ours.bring({"blobs/x": big})
    before = hub.stored_bytes
    ours.write({"blobs/x": big, "parts/main/1.parquet": b"small"}, [], lease("a"), "parts")
    assert hub.stored_bytes - before < 1000  # the big one went ahead
    assert set(ours.paths()) >= {"blobs/x", "parts/main/1.parquet", "lease.json"}
    assert ours.read("parts/main/1.parquet") == b"small"
    ours.fetch("blobs/x", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == big.read_bytes()
    ours.write({}, ["parts/main/1.parquet"], lease("a"), "thin")
    assert "parts/main/1.parquet" not in ours.paths()
    with pytest.raises(BackupError) as err:
        ours.read("parts/main/1.parquet")
    assert err.value.code == "missing"


def test_of_two_takers_one_loses(hub: FakeHub, ours: HubPlace):
    first, second = place(hub), place(hub)
    seen = first.lease()
    assert second.lease() == seen
    first.take(lease("b", 2), seen)
    with pytest.raises(LeaseLost, match="App b"):
        second.take(lease("c", 2), seen)
    with pytest.raises(LeaseLost, match="App b"):
        ours.write({"parts/main/2.parquet": b"late"}, [], lease("a"), "parts")
    assert "parts/main/2.parquet" not in first.paths()


def test_a_race_between_look_and_commit_is_lost(hub: FakeHub, ours: HubPlace):
    """The other one commits after we looked: the Hub's 412 decides."""
    late, repo = place(hub), hub.repo(REPO)
    seen = late.lease()

    def rival() -> None:
        there = Entry(lease("r", 2).model_dump_json().encode())
        repo.commit("main", {**repo.head.tree, "lease.json": there}, "Take the backup", "", "ann")

    hub.fail("/commit/", method="POST", act=rival)
    with pytest.raises(LeaseLost, match="App r"):
        late.take(lease("c", 2), seen)
    assert place(hub).lease().token == "r"


def test_somebody_elses_commit_is_no_loss(hub: FakeHub, ours: HubPlace):
    HfApi(endpoint=hub.url, token="hf_ann").upload_file(
        path_or_fileobj=b"# Notes", path_in_repo="NOTES.md", repo_id=REPO, repo_type="dataset"
    )
    ours.write({"parts/main/1.parquet": b"x"}, [], lease("a"), "parts")
    assert {"NOTES.md", "parts/main/1.parquet"} <= set(ours.paths())


def test_the_ways_to_fail_each_have_their_words(hub: FakeHub, ours: HubPlace):
    def failing(status: int, **more: object) -> BackupError:
        hub.fail("/commit/", status, times=1, method="POST", **more)
        with pytest.raises(BackupError) as err:
            ours.write({"parts/main/1.parquet": b"x"}, [], lease("a"), "parts")
        hub.faults.clear()
        return err.value

    limited = failing(429, headers={"Retry-After": "120"})
    assert (limited.code, limited.retry_after_s) == ("busy", 120.0)
    assert failing(403).code == "no_rights"
    assert failing(500).code == "busy"
    ours.write({"parts/main/1.parquet": b"x"}, [], lease("a"), "parts")  # goes on afterwards
    hub.user("bob")
    with pytest.raises(BackupError) as err:
        place(hub, "hf_bob").lease()
    assert err.value.code == "gone"
    reader = hub.user("ann", "hf_reader", role="read")
    reading = place(hub, reader)
    assert reading.lease().token == "a"
    with pytest.raises(BackupError, match="No rights to write") as err:
        reading.write({}, [], lease("a"), "beat")
    assert err.value.code == "no_rights"
    hub.delete(REPO)
    with pytest.raises(BackupError, match="deleted or renamed") as err:
        ours.write({"parts/main/2.parquet": b"x"}, [], lease("a"), "parts")
    assert err.value.code == "gone"
    assert "hf_ann" not in str(err.value)


def test_offline(hub: FakeHub, ours: HubPlace):
    hub.close()
    with pytest.raises(BackupError) as err:
        ours.write({}, [], lease("a"), "beat")
    assert err.value.code == "offline"
    hub.start()
    ours.write({}, [], lease("a"), "beat")


def test_an_answer_that_is_lost_doubles_nothing(hub: FakeHub, ours: HubPlace):
    hub.fail("/commit/", cuts="after", method="POST")
    with pytest.raises(BackupError):
        ours.write({"parts/main/1.parquet": b"x"}, [], lease("a"), "parts")
    ours.write({"parts/main/1.parquet": b"x"}, [], lease("a"), "parts")
    assert ours.read("parts/main/1.parquet") == b"x"


def test_a_public_repository_is_refused(hub: FakeHub, ours: HubPlace):
    hub.repo(REPO).private = False
    with pytest.raises(BackupError) as err:
        ours.check_private()
    assert err.value.code == "public"


def test_the_history_can_be_cleared_and_writing_goes_on(hub: FakeHub, ours: HubPlace):
    ours.write({"parts/main/1.parquet": b"x"}, [], lease("a"), "parts")
    ours.write({}, ["parts/main/1.parquet"], lease("a"), "thin")
    ours.tidy()
    assert len(hub.repo(REPO).history()) == 1
    ours.write({"parts/main/2.parquet": b"y"}, [], lease("a"), "parts")
    assert set(ours.paths()) >= {"parts/main/2.parquet", "lease.json"}


def test_looking_does_not_make_anothers_lease_ours(hub: FakeHub, ours: HubPlace):
    """A drill reads the backup while another app takes it: our next write is refused."""
    rival = place(hub)
    rival.take(lease("r", 2), rival.lease())
    ours.paths()
    ours.lease()
    with pytest.raises(LeaseLost):
        ours.write({"parts/main/2.parquet": b"late"}, [], lease("a"), "parts")
