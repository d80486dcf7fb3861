"""The fake Hub, driven by huggingface_hub's own client."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetCard,
    HfApi,
    SpaceHardware,
    Volume,
    close_session,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.fake_hub import FakeHub, online

BIG = 11 * 1024 * 1024


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.user("ann", orgs=("lab",))
    with online():
        yield hub
    close_session()
    hub.close()
    assert not hub.unknown


@pytest.fixture
def api(hub: FakeHub) -> HfApi:
    return HfApi(endpoint=hub.url, token="hf_ann")


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's back-off without its seconds; the list is what it would have waited."""
    waits: list[float] = []
    patient = SimpleNamespace(sleep=waits.append, time=time.time)
    monkeypatch.setattr("huggingface_hub.utils._http.time", patient)
    monkeypatch.setattr("huggingface_hub.file_download.time", patient)
    return waits


def refused(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def a_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Card\n")
    (folder / "big.dat").write_bytes(os.urandom(BIG))  # large by its size
    (folder / "sub" / "a.parquet").write_bytes(b"PAR1 small")  # large by its name
    (folder / "empty.txt").touch()
    return folder


def test_whoami_and_tokens(hub: FakeHub, api: HfApi) -> None:
    told = api.whoami()
    assert (told["name"], told["orgs"][0]["name"]) == ("ann", "lab")
    assert told["auth"]["accessToken"]["role"] == "write"
    with pytest.raises(HfHubHTTPError, match="Invalid user token") as error:
        HfApi(endpoint=hub.url, token="hf_nobody").whoami()
    assert refused(error) == 401


def test_a_repository_is_made_once(hub: FakeHub, api: HfApi) -> None:
    url = api.create_repo("ann/data", repo_type="dataset", private=True)
    assert (url.repo_id, url.repo_type, hub.repo("ann/data").private) == (
        "ann/data",
        "dataset",
        True,
    )
    again = api.create_repo("ann/data", repo_type="dataset", exist_ok=True)
    assert again == url
    with pytest.raises(HfHubHTTPError, match="already created") as error:
        api.create_repo("ann/data", repo_type="dataset")
    assert refused(error) == 409
    api.create_repo("ann/data")  # a model of the same name is another repository
    assert api.repo_exists("ann/data")
    assert api.create_repo("short").repo_id == "ann/short"
    api.update_repo_settings("ann/data", repo_type="dataset", private=False)
    assert api.dataset_info("ann/data").private is False
    api.delete_repo("ann/data", repo_type="dataset")
    assert not api.repo_exists("ann/data", repo_type="dataset")
    api.delete_repo("ann/data", repo_type="dataset", missing_ok=True)


def test_rights(hub: FakeHub, api: HfApi) -> None:
    hub.user("bob")
    reader = HfApi(endpoint=hub.url, token=hub.user("ann", "hf_read", role="read"))
    bob = HfApi(endpoint=hub.url, token="hf_bob")
    nobody = HfApi(endpoint=hub.url, token=False)
    fine = hub.user("ann", "hf_fine", role="fineGrained", scope=("ann/data",))
    api.create_repo("ann/data", repo_type="dataset", private=True)
    api.create_repo("lab/shared", repo_type="dataset")
    for other in (bob, nobody):
        with pytest.raises(RepositoryNotFoundError):
            other.dataset_info("ann/data")
    assert reader.dataset_info("ann/data").private
    upload = {"path_or_fileobj": b"x", "path_in_repo": "x.txt", "repo_type": "dataset"}
    for other, repo in ((reader, "ann/data"), (bob, "lab/shared")):
        with pytest.raises(HfHubHTTPError, match="403 Forbidden") as error:
            other.upload_file(repo_id=repo, **upload)
        assert refused(error) == 403
        with pytest.raises(HfHubHTTPError) as error:
            other.create_repo("ann/other", repo_type="dataset")
        assert refused(error) == 403
    HfApi(endpoint=hub.url, token=fine).upload_file(repo_id="ann/data", **upload)
    assert hub.repo("ann/data").files() == {"x.txt": b"x"}


def test_files_go_up_and_come_down(hub: FakeHub, api: HfApi, tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    api.create_repo("ann/data", repo_type="dataset")
    made = api.upload_folder(repo_id="ann/data", repo_type="dataset", folder_path=folder)
    repo = hub.repo("ann/data")
    assert repo.head.id == made.oid
    assert {path for path, entry in repo.head.tree.items() if entry.lfs} == {
        "big.dat",
        "sub/a.parquet",
    }
    assert hub.stored_bytes == BIG + len(b"PAR1 small")
    home = tmp_path / "cache"
    got = api.snapshot_download("ann/data", repo_type="dataset", cache_dir=home)
    for path in ("README.md", "big.dat", "sub/a.parquet", "empty.txt"):
        assert (Path(got) / path).read_bytes() == (folder / path).read_bytes(), path
    assert made.oid in got
    info = api.dataset_info("ann/data", files_metadata=True)
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    assert {one.rfilename: one.size for one in info.siblings or []}["big.dat"] == BIG
    assert api.file_exists("ann/data", "sub/a.parquet", repo_type="dataset")
    assert not api.file_exists("ann/data", "sub/b.parquet", repo_type="dataset")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("ann/data", "none", repo_type="dataset", cache_dir=home)


def test_what_is_there_is_not_sent_again(hub: FakeHub, api: HfApi, tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    api.create_repo("ann/data", repo_type="dataset")
    add = [
        CommitOperationAdd(one.relative_to(folder).as_posix(), one)
        for one in sorted(folder.rglob("*"))
        if one.is_file()
    ]
    api.preupload_lfs_files("ann/data", add, repo_type="dataset")  # and then the machine stops
    sent = hub.stored_bytes
    first = api.upload_folder(repo_id="ann/data", repo_type="dataset", folder_path=folder)
    assert hub.stored_bytes == sent > BIG
    again = api.upload_folder(repo_id="ann/data", repo_type="dataset", folder_path=folder)
    assert (again.oid, hub.stored_bytes) == (first.oid, sent)  # no empty commit either
    assert len(api.list_repo_commits("ann/data", repo_type="dataset")) == 2


def test_a_large_file_in_parts(hub: FakeHub, api: HfApi) -> None:
    hub.multipart_from = BIG
    api.create_repo("ann/model")
    content = os.urandom(BIG)
    api.upload_file(path_or_fileobj=content, path_in_repo="w.safetensors", repo_id="ann/model")
    assert hub.repo("ann/model", "model").files() == {"w.safetensors": content}
    assert sum(method == "PUT" for method, _ in hub.requests) == 3


def test_a_file_of_another_hash_is_refused(hub: FakeHub, api: HfApi) -> None:
    api.create_repo("ann/model")
    wrong = f"{hub.storage_url}/models/ann/model/{'0' * 64}"
    assert httpx2.put(wrong, content=b"x").status_code == 400
    token = {"Authorization": "Bearer hf_ann"}
    assert httpx2.put(wrong, content=b"x", headers=token).json() == {
        "error": "Only one auth mechanism allowed"
    }
    lost = '{"key":"header","value":{"summary":"s"}}\n' + (
        '{"key":"lfsFile","value":{"path":"w.bin","algo":"sha256","oid":"%s","size":1}}'
        % ("0" * 64)
    )
    url = f"{hub.url}/api/models/ann/model/commit/main"
    assert httpx2.post(url, content=lost, headers=token).status_code == 400
    assert not hub.repo("ann/model", "model").files()


def test_commits_tags_and_branches(hub: FakeHub, api: HfApi) -> None:
    kind = {"repo_type": "dataset"}
    api.create_repo("ann/data", **kind)
    upload = {"path_in_repo": "a.txt", "repo_id": "ann/data", **kind}
    one = api.upload_file(path_or_fileobj=b"one", **upload, commit_message="One")
    api.create_tag("ann/data", tag="v1", **kind)
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag("ann/data", tag="v1", **kind)
    assert refused(error) == 409
    api.create_tag("ann/data", tag="v1", exist_ok=True, **kind)
    two = api.upload_file(path_or_fileobj=b"two", **upload, parent_commit=one.oid)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        api.upload_file(path_or_fileobj=b"three", **upload, parent_commit=one.oid)
    assert refused(error) == 412
    api.create_branch("ann/data", branch="refs/side", revision="v1", **kind)
    api.upload_file(path_or_fileobj=b"side", **upload, revision="refs/side")
    repo = hub.repo("ann/data")
    assert repo.files("v1") == {"a.txt": b"one"}
    assert repo.files() == {"a.txt": b"two"}
    assert repo.files("refs/side") == {"a.txt": b"side"}
    refs = api.list_repo_refs("ann/data", **kind)
    assert {one.name: one.target_commit for one in refs.tags} == {"v1": one.oid}
    assert {one.name for one in refs.branches} == {"main", "refs/side"}
    titles = [one.title for one in api.list_repo_commits("ann/data", **kind)]
    assert titles == ["Upload a.txt with huggingface_hub", "One", "initial commit"]
    assert api.dataset_info("ann/data", revision=two.oid).sha == two.oid
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info("ann/data", revision="v9")
    with pytest.raises(HfHubHTTPError):
        api.upload_file(path_or_fileobj=b"x", **upload, revision="v1")  # a tag does not move
    api.delete_tag("ann/data", tag="v1", **kind)
    api.delete_branch("ann/data", branch="refs/side", **kind)
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag("ann/data", tag="v1", **kind)
    api.super_squash_history("ann/data", **kind)
    assert len(api.list_repo_commits("ann/data", **kind)) == 1
    assert repo.files() == {"a.txt": b"two"}


def test_trees_and_deletions(hub: FakeHub, api: HfApi) -> None:
    hub.page_size = 2
    api.create_repo("ann/model")
    paths = ("a.txt", "sub/b.txt", "sub/deep/c.txt", "z.txt")
    add = [CommitOperationAdd(path, path.encode()) for path in paths]
    api.create_commit("ann/model", add, commit_message="All")
    assert api.list_repo_files("ann/model") == [".gitattributes", *paths]
    top = [one.path for one in api.list_repo_tree("ann/model")]
    assert top == [".gitattributes", "a.txt", "sub", "z.txt"]
    assert [one.path for one in api.list_repo_tree("ann/model", "sub")] == [
        *("sub/b.txt", "sub/deep"),
    ]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("ann/model", "none"))
    found = api.get_paths_info("ann/model", ["sub", "a.txt", "none"])
    assert [one.path for one in found] == ["sub", "a.txt"]
    api.create_commit(
        "ann/model",
        [CommitOperationDelete("sub/"), CommitOperationDelete("a.txt")],
        commit_message="Fewer",
    )
    assert list(hub.repo("ann/model", "model").files()) == ["z.txt"]
    with pytest.raises(EntryNotFoundError, match="doesn't exist"):
        api.delete_file("a.txt", "ann/model")


def test_a_card_that_the_hub_refuses(hub: FakeHub, api: HfApi) -> None:
    api.create_repo("ann/data", repo_type="dataset")
    card = DatasetCard("---\nlicense: my-own\n---\n# Card")
    upload = {"path_in_repo": "README.md", "repo_id": "ann/data", "repo_type": "dataset"}
    with pytest.raises(ValueError, match="license"):
        api.upload_file(path_or_fileobj=str(card).encode(), **upload)
    with pytest.warns(UserWarning, match="empty or missing yaml"):
        api.upload_file(path_or_fileobj=b"# No front matter", **upload)


def test_a_server_that_stumbles(hub: FakeHub, api: HfApi, no_wait: list[float]) -> None:
    api.create_repo("ann/model")
    upload = {"path_in_repo": "w.bin", "repo_id": "ann/model"}
    broken = hub.fail("/models/ann/model/[0-9a-f]{64}", 503, method="PUT", times=2)
    limited = hub.fail("preupload", 429, headers={"Retry-After": "7"})
    api.upload_file(path_or_fileobj=b"weights", **upload)
    assert (broken.hits, limited.hits) == (2, 1)
    assert no_wait[0] == 8.0
    hub.fail("/commit/", 500)  # a commit is not repeated by the client itself
    with pytest.raises(HfHubHTTPError) as error:
        api.upload_file(path_or_fileobj=b"other", **upload)
    assert refused(error) == 500
    assert hub.repo("ann/model", "model").files() == {"w.bin": b"weights"}


def test_connections_that_break(
    hub: FakeHub, api: HfApi, no_wait: list[float], tmp_path: Path
) -> None:
    content = os.urandom(BIG)
    api.create_repo("ann/model")
    hub.fail("/models/ann/model/[0-9a-f]{64}", method="PUT", cuts="before")
    api.upload_file(path_or_fileobj=content, path_in_repo="w.bin", repo_id="ann/model")
    half = hub.fail("/models/ann/model/[0-9a-f]{64}", method="GET", cuts="middle")
    got = api.hf_hub_download("ann/model", "w.bin", cache_dir=tmp_path)
    assert Path(got).read_bytes() == content
    assert half.hits == 1
    hub.fail("/commit/", cuts="after")  # done, but nobody hears of it
    with pytest.raises(httpx2.TransportError):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="ann/model")
    assert hub.repo("ann/model", "model").files()["x.txt"] == b"x"


def test_a_repository_that_goes(hub: FakeHub, api: HfApi) -> None:
    api.create_repo("ann/model")
    hub.fail("/commit/", act=lambda: hub.delete("ann/model", "model"))
    with pytest.raises(RepositoryNotFoundError):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="ann/model")
    api.create_repo("ann/model")
    hub.fail("info/lfs/verify", act=lambda: hub.delete("ann/model", "model"))
    with pytest.raises(RuntimeError) as failure:
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x.bin", repo_id="ann/model")
    assert isinstance(failure.value.__cause__, RepositoryNotFoundError)


def test_a_hub_that_is_away_comes_back(hub: FakeHub, api: HfApi, tmp_path: Path) -> None:
    api.create_repo("ann/model")
    hub.close()
    with pytest.raises(httpx2.ConnectError):
        api.model_info("ann/model")
    with pytest.raises(LocalEntryNotFoundError):
        api.snapshot_download("ann/model", cache_dir=tmp_path)
    hub.start()
    assert api.model_info("ann/model").id == "ann/model"


def test_a_slow_answer(hub: FakeHub, api: HfApi) -> None:
    api.create_repo("ann/model")
    hub.fail("/api/models/ann/model", delay_s=3.0)
    slow = threading.Thread(target=api.model_info, args=("ann/model",))
    slow.start()
    started = time.monotonic()
    api.whoami()  # the others are served meanwhile
    assert time.monotonic() - started < 2.5
    slow.join()


def test_a_space(hub: FakeHub, api: HfApi) -> None:
    api.create_repo(
        "ann/studio",
        repo_type="space",
        space_sdk="gradio",
        space_hardware=SpaceHardware.T4_SMALL,
        space_secrets=[{"key": "PASSWORD", "value": "s3cret"}],
        space_variables=[{"key": "MODE", "value": "team"}],
        private=True,
    )
    assert api.get_space_runtime("ann/studio").stage == "NO_APP_FILE"
    api.upload_file(
        path_or_fileobj=b"print()", path_in_repo="app.py", repo_id="ann/studio", repo_type="space"
    )
    assert api.get_space_runtime("ann/studio").stage == "RUNNING"
    api.add_space_secret("ann/studio", "HF_TOKEN", "hf_ann", description="To back up")
    assert api.get_space_secrets("ann/studio")["HF_TOKEN"].description == "To back up"
    assert hub.repo("ann/studio", "space").space.secrets["PASSWORD"]["value"] == "s3cret"
    api.delete_space_secret("ann/studio", "PASSWORD")
    assert api.add_space_variable("ann/studio", "B", "2")["B"].value == "2"
    assert set(api.delete_space_variable("ann/studio", "B")) == {"MODE"}
    asked = api.request_space_hardware("ann/studio", SpaceHardware.A10G_SMALL, sleep_time=600)
    assert (asked.hardware, asked.requested_hardware, asked.sleep_time) == (
        *("t4-small", "a10g-small", 600),
    )
    assert api.restart_space("ann/studio").hardware == "a10g-small"
    volume = Volume(type="bucket", source="ann/bucket", mount_path="/data")
    api.set_space_volumes("ann/studio", [volume])
    assert (api.get_space_runtime("ann/studio").volumes or [])[0].mount_path == "/data"
    api.delete_space_volumes("ann/studio")
    with pytest.raises(BadRequestError):
        api.delete_space_volumes("ann/studio")
    assert api.pause_space("ann/studio").stage == "PAUSED"
    assert api.space_info("ann/studio").sdk == "gradio"
    hub.has_billing = False
    with pytest.raises(HfHubHTTPError) as error:
        api.request_space_hardware("ann/studio", SpaceHardware.A100_LARGE)
    assert refused(error) == 402


def test_jobs_run_their_command(hub: FakeHub, api: HfApi) -> None:
    assert next(one.name for one in api.list_jobs_hardware()) == "cpu-basic"
    said = {"image": "python:3.11", "flavor": "cpu-basic", "timeout": "1m", "namespace": "ann"}
    script = 'echo "in $WHERE"; test "$KEY" = secret && exit 3'
    job = api.run_job(
        command=["sh", "-c", script], env={"WHERE": "place"}, secrets={"KEY": "secret"}, **said
    )
    assert job.secrets == {"KEY": ""}
    ended = api.wait_for_job(job.id, namespace="ann", poll_interval=0.1)
    assert (ended.status.stage, ended.durations is not None) == ("ERROR", True)
    assert "exit code: 3" in str(ended.status.message)
    assert list(api.fetch_job_logs(job_id=job.id, namespace="ann")) == ["in place"]
    assert list(api.fetch_job_logs(job_id=job.id, namespace="ann", tail=1)) == ["in place"]

    hub.longest_job_s = 0.5
    late = api.run_job(command=["sleep", "60"], labels={"a": "b"}, **said)
    assert [one.id for one in api.list_jobs(labels={"a": "b"}, namespace="ann")] == [late.id]
    late = api.wait_for_job(late.id, namespace="ann", poll_interval=0.1)
    assert (late.status.stage, late.status.message) == ("ERROR", "Job timeout")
    hub.longest_job_s = 60
    gone = api.run_job(command=["sleep", "60"], **said)
    api.cancel_job(job_id=gone.id, namespace="ann")
    assert api.inspect_job(job_id=gone.id, namespace="ann").status.stage == "CANCELED"

    reader = HfApi(endpoint=hub.url, token=hub.user("ann", "hf_reader", role="read"))
    with pytest.raises(HfHubHTTPError) as error:
        reader.run_job(command=["true"], **said)
    assert refused(error) == 403
    hub.has_billing = False
    with pytest.raises(HfHubHTTPError) as error:
        api.run_job(command=["true"], **said)
    assert refused(error) == 402
