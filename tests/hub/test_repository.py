"""Pushing to a repository: once, again, and with everything in the way."""

import json
import os
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from distill_studio.core.errors import (
    Cancelled,
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    StudioError,
    Unavailable,
)
from distill_studio.core.progress import CancelToken
from distill_studio.hub.repository import MARKER, HubRepository, Upload
from tests.fake_hub import FakeHub

BIG = os.urandom(11 * 1024 * 1024)
CARD = "---\nlicense: mit\n---\n# Rows\n"


def an_upload(**changes: object) -> Upload:
    files = {"train.parquet": b"PAR1 rows", "manifest.json": b"{}"}
    marks = {"kind": "snapshot", "name": "first", "content_hash": "abc"}
    given = {"repo_id": "ann/rows", "kind": "dataset", "files": files, "card": CARD}
    return Upload(**{**given, "marks": marks, "tag": "first"} | changes)


def pushing(upload: Upload, token: str = "hf_ann") -> StudioError:
    """What a push that fails says."""
    with pytest.raises(StudioError) as failure:
        HubRepository(token).push(upload)
    assert token not in str(failure.value)
    assert failure.value.__cause__ is None  # nothing behind it that could quote a header
    return failure.value


def test_a_push_makes_a_private_repository_with_a_tag(hub: FakeHub) -> None:
    seen: list[tuple[int, int | None, str]] = []
    hub_side = HubRepository("hf_ann", progress=lambda *said: seen.append(said))
    pushed = hub_side.push(an_upload())
    repo = hub.repo("ann/rows")
    assert repo.private
    assert pushed.private
    assert pushed.url == f"{hub.url}/datasets/ann/rows"
    assert repo.tags["first"].id == pushed.commit == repo.head.id
    files = repo.files()
    assert set(files) == {"README.md", "train.parquet", "manifest.json", MARKER}
    marker = json.loads(files[MARKER])
    assert marker["name"] == "first"
    assert marker["files"]["train.parquet"]["size_bytes"] == len(files["train.parquet"])
    total = sum(len(files[name]) for name in ("README.md", "train.parquet", "manifest.json"))
    assert seen[-1] == (total, total, "writing the commit")


def test_the_same_again_changes_nothing(hub: FakeHub) -> None:
    first = HubRepository("hf_ann").push(an_upload(files={"train.parquet": BIG}))
    sent = hub.stored_bytes
    again = HubRepository("hf_ann").push(an_upload(files={"train.parquet": BIG}))
    assert again.commit == first.commit
    assert hub.stored_bytes == sent


def test_the_next_snapshot_takes_its_place(hub: FakeHub) -> None:
    old = {"train.parquet": b"PAR1 a", "validation.parquet": b"PAR1 b"}
    HubRepository("hf_ann").push(an_upload(files=old))
    HfApi(endpoint=hub.url, token="hf_ann").upload_file(
        path_or_fileobj=b"mine", path_in_repo="notes.txt", repo_id="ann/rows", repo_type="dataset"
    )
    new = an_upload(files={"train.parquet": b"PAR1 c"}, tag="second", marks={"name": "second"})
    HubRepository("hf_ann").push(new)
    repo = hub.repo("ann/rows")
    assert set(repo.files()) == {"README.md", "train.parquet", MARKER, "notes.txt"}
    assert repo.files("first")["validation.parquet"] == b"PAR1 b"
    assert repo.files("second")["train.parquet"] == b"PAR1 c"


def test_a_card_may_change_but_not_what_a_tag_names(hub: FakeHub) -> None:
    first = HubRepository("hf_ann").push(an_upload())
    HubRepository("hf_ann").push(an_upload(card=CARD + "More is known now.\n"))
    repo = hub.repo("ann/rows")
    assert b"More is known" in repo.files()["README.md"]
    assert repo.tags["first"].id == first.commit
    failure = pushing(an_upload(files={"train.parquet": b"PAR1 other"}))
    assert isinstance(failure, Conflict)
    assert "tag 'first'" in str(failure)


def test_anothers_work_is_left_alone(hub: FakeHub) -> None:
    api = HfApi(endpoint=hub.url, token="hf_ann")
    api.create_repo("ann/rows", repo_type="dataset", private=True)
    HubRepository("hf_ann").push(an_upload())  # an empty one may be filled
    api.create_repo("ann/theirs", repo_type="dataset", private=True)
    api.upload_file(
        path_or_fileobj=b"x", path_in_repo="a.txt", repo_id="ann/theirs", repo_type="dataset"
    )
    failure = pushing(an_upload(repo_id="ann/theirs"))
    assert isinstance(failure, Conflict)
    assert "not made by Distill Studio" in str(failure)
    assert set(hub.repo("ann/theirs").files()) == {"a.txt"}


def test_private_rows_never_go_into_a_public_repository(hub: FakeHub) -> None:
    HubRepository("hf_ann").push(an_upload(private=False))
    assert not hub.repo("ann/rows").private
    before = hub.repo("ann/rows").head
    failure = pushing(an_upload(files={"train.parquet": b"PAR1 secret"}, tag=""))
    assert isinstance(failure, Conflict)
    assert "is public" in str(failure)
    assert hub.repo("ann/rows").head is before


@pytest.mark.parametrize(
    ("token", "repo", "kind", "says"),
    [
        ("hf_nobody", "ann/rows", NotAllowed, "does not know this token"),
        ("hf_reader", "ann/rows", NotAllowed, "may only read"),
        ("hf_fine", "ann/rows", NotAllowed, "may not write to ann/rows"),
        ("hf_ann", "bob/rows", NotAllowed, "may not write to bob/rows"),
    ],
)
def test_tokens_without_the_right(
    hub: FakeHub, token: str, repo: str, kind: type[StudioError], says: str
) -> None:
    hub.user("ann", "hf_reader", role="read")
    hub.user("ann", "hf_fine", role="fineGrained", scope=("ann/other",))
    failure = pushing(an_upload(repo_id=repo), token)
    assert isinstance(failure, kind)
    assert says in str(failure)
    assert not hub.repos


def test_a_hub_that_stumbles(hub: FakeHub) -> None:
    for path in ("whoami", "repos/create", "preupload", "/refs", "/commit/", "/tag/"):
        hub.fail(path, 503, times=2)
        hub.fail(path, 429, headers={"Retry-After": "1"})
    hub.fail("/datasets/ann/rows/[0-9a-f]{64}", 500, method="PUT", times=3)
    pushed = HubRepository("hf_ann").push(an_upload(files={"train.parquet": BIG}))
    assert hub.repo("ann/rows").files()["train.parquet"] == BIG
    assert hub.repo("ann/rows").tags["first"].id == pushed.commit


def test_an_answer_that_gets_lost_doubles_nothing(hub: FakeHub) -> None:
    for path in ("repos/create", "/commit/", "/tag/"):
        hub.fail(path, cuts="after")
    hub.fail("/datasets/ann/rows/[0-9a-f]{64}", method="PUT", cuts="after")
    pushed = HubRepository("hf_ann").push(an_upload(files={"train.parquet": BIG}))
    repo = hub.repo("ann/rows")
    assert [one.title for one in repo.history()] == ["Push from Distill Studio", "initial commit"]
    assert repo.tags["first"].id == pushed.commit


def test_a_hub_that_stays_away(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.fail("/commit/", 502, times=-1)
    failure = pushing(an_upload(files={"train.parquet": BIG}))
    assert isinstance(failure, Unavailable)
    assert "status 502" in str(failure)
    hub.faults.clear()
    sent = hub.stored_bytes
    HubRepository("hf_ann").push(an_upload(files={"train.parquet": BIG}))
    assert hub.stored_bytes == sent  # what had arrived is not sent again
    hub.fail("whoami", 429, times=-1, headers={"Retry-After": "1"})
    assert "slow down" in str(pushing(an_upload()))
    hub.close()
    assert f"The Hub at {hub.url} cannot be reached" in str(pushing(an_upload()))
    hub.start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in str(pushing(an_upload()))


def test_a_repository_deleted_meanwhile(hub: FakeHub) -> None:
    for path in ("preupload", "/datasets/ann/rows/[0-9a-f]{64}", "/commit/", "/tag/"):
        hub.fail(path, act=lambda: hub.delete("ann/rows"))
        failure = pushing(an_upload(files={"train.parquet": BIG}))
        assert isinstance(failure, NotFound), path
        assert "ann/rows" in str(failure)
    HubRepository("hf_ann").push(an_upload(files={"train.parquet": BIG}))
    assert hub.repo("ann/rows").files()["train.parquet"] == BIG


def test_somebody_else_commits_meanwhile(hub: FakeHub) -> None:
    HubRepository("hf_ann").push(an_upload())

    def commit() -> None:
        repo = hub.repo("ann/rows")
        repo.commit("main", dict(repo.head.tree), "Mine", "", "bob")

    hub.fail("/commit/", act=commit)
    failure = pushing(an_upload(files={"train.parquet": b"PAR1 new"}, tag="second"))
    assert isinstance(failure, Conflict)
    assert "changed by somebody else" in str(failure)
    assert hub.repo("ann/rows").head.title == "Mine"


def test_a_stop_between_the_files(hub: FakeHub) -> None:
    cancel = CancelToken()
    hub.fail("preupload", act=cancel.cancel, after=1)
    with pytest.raises(Cancelled):
        HubRepository("hf_ann", cancel).push(an_upload(files={"train.parquet": BIG}))
    assert not hub.repo("ann/rows").files()


def test_a_token_is_in_no_message(hub: FakeHub, caplog: pytest.LogCaptureFixture) -> None:
    token = hub.user("ann", "hf_" + "s3cretS3cret" * 3)
    for status in (400, 401, 402, 403, 404, 409, 412, 418, 500):
        hub.fail("/commit/|whoami", status, times=6, message=f"no {status}")
        pushing(an_upload(), token)
        hub.faults.clear()
    assert "s3cret" not in caplog.text


def test_a_card_that_the_hub_refuses(hub: FakeHub, tmp_path: Path) -> None:
    failure = pushing(an_upload(card="---\nlicense: my-own\n---\n# Rows\n"))
    assert isinstance(failure, InvalidInput)
    assert "license" in str(failure)
