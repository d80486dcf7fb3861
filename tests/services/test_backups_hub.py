"""A studio that backs up to the fake Hub, while the Hub fails under it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, close_session

from distill_studio.backup.hub import HubPlace
from distill_studio.backup.records import parts_of, wholes_of
from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor
from distill_studio.core.settings import Settings
from distill_studio.services import backup_standing, backups
from distill_studio.services.backup_restore import restore
from distill_studio.services.studio import Studio
from tests.fake_hub import FakeHub, online
from tests.services.test_backups import add_pairs, all_there, decide, said, until, whole_copy

REPO = "ann/backup"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.user("ann")
    api = HfApi(endpoint=hub.url, token="hf_ann")
    monkeypatch.setattr(backups, "place_of", lambda _address: HubPlace(REPO, api))
    monkeypatch.setattr(backup_standing, "_BACK_OFF_S", (0.2,))
    with online():
        yield hub
    close_session()
    hub.close()
    assert not hub.unknown


@pytest.fixture
def studio(settings: Settings, hub: FakeHub) -> Iterator[Studio]:
    studio = build_studio(
        settings.model_copy(update={"backup": f"hf://datasets/{REPO}", "backup_every_s": 0.1})
    )
    studio.open_all()
    yield studio
    studio.close()


def behind(studio: Studio) -> str:
    until(lambda: studio.backups.state().status == "behind", "it notices")
    state = studio.backups.state()
    assert state.message
    assert state.since is not None
    assert "hf_ann" not in state.model_dump_json()
    return state.code


def well(studio: Studio) -> None:
    all_there(studio)
    until(lambda: studio.backups.state().status == "ok", str(studio.backups.state()))


@pytest.mark.slow
def test_what_fails_is_told_and_made_good(
    hub: FakeHub, studio: Studio, owner: Actor, tmp_path: Path
):
    assert hub.repo(REPO).private
    pair_ids = iter(add_pairs(studio, owner, tmp_path))
    whole_copy(studio)

    def label(make_worse: Callable[[], object], mend: Callable[[], object]) -> str:
        make_worse()
        pair_id = next(pair_ids)
        decide(studio, owner, [pair_id], pair_id[-8:])  # labelling goes on whatever happens
        code = behind(studio)
        mend()
        well(studio)
        return code

    token = hub.tokens["hf_ann"]
    reading = type(token)("ann", role="read")
    mend = hub.faults.clear
    assert label(lambda: hub.fail("/commit/", 403, times=-1), mend) == "no_rights"
    assert label(lambda: hub.fail("/commit/", 413, times=-1), mend) == "full"
    assert (
        label(lambda: hub.tokens.update(hf_ann=reading), lambda: hub.tokens.update(hf_ann=token))
        == "no_rights"
    )
    assert label(lambda: hub.delete(REPO), lambda: hub.add(REPO, private=True)) == "gone"
    whole_copy(studio)  # of everything, in the repository that was made again
    back = restore(HubPlace(REPO, HfApi(endpoint=hub.url, token="hf_ann")), tmp_path / "back")
    assert back.counts["main"]["decisions"] == len(said(studio)) == 4
    assert back.problems == ()


def test_a_lost_answer_and_a_limit_double_nothing(
    hub: FakeHub, studio: Studio, owner: Actor, tmp_path: Path
):
    pair_ids = add_pairs(studio, owner, tmp_path)
    whole_copy(studio)
    hub.fail("/commit/", method="POST", cuts="after", times=1)
    decide(studio, owner, pair_ids[:1], "cut")
    well(studio)
    hub.fail("/commit/", 429, method="POST", times=1, headers={"Retry-After": "0"})
    decide(studio, owner, pair_ids[1:2], "limited")
    well(studio)
    place = HubPlace(REPO, HfApi(endpoint=hub.url, token="hf_ann"))
    assert wholes_of(place.paths())
    assert parts_of(place.paths())
    back = restore(place, tmp_path / "back")
    assert back.counts["main"]["decisions"] == 2
    assert back.problems == ()


def test_a_lease_whose_answer_was_lost_is_taken_the_next_time(
    settings: Settings, hub: FakeHub, owner: Actor, tmp_path: Path
):
    plain = build_studio(settings)  # a folder with data, so that a failure does not end the start
    pair_ids = add_pairs(plain, owner, tmp_path)
    plain.close()
    hub.add(REPO, private=True)
    hub.fail("/commit/", method="POST", cuts="after", times=1)
    studio = build_studio(
        settings.model_copy(update={"backup": f"hf://datasets/{REPO}", "backup_every_s": 0.1})
    )
    try:
        assert studio.backups.state().status == "behind"
        studio.open_all()
        decide(studio, owner, pair_ids[:1], "first")
        well(studio)
    finally:
        studio.close()
