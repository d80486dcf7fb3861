"""`space create` against a fake Hub: what goes up, what is set, twice, and what goes wrong."""

import json
import shutil
from collections.abc import Iterator

import pytest
from huggingface_hub import HfApi, close_session, constants

from distill_studio.cli.app import main
from distill_studio.services import space_files
from tests.fake_hub import FakeHub, online

TOKEN, PASSWORD = "hf_ann", "a-long-password-of-ann"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.user("ann", orgs=("lab",))
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("STUDIO_PASSWORD", PASSWORD)
    monkeypatch.setenv("SPACE_TOKEN", "hf_for_the_space")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", hub.url)
    with online():
        yield hub
    close_session()
    hub.close()
    assert not hub.unknown


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["space", "create", *words])
    said = capsys.readouterr()
    assert (ended.value.code or 0) == code, said.out + said.err
    return said.out if code == 0 else said.err


def create(capsys, *words: str) -> dict:
    return json.loads(run(capsys, "--repo", "ann/studio", *words, "--json"))


def test_a_space_with_everything(hub, capsys):
    report = create(
        capsys, "--password-from", "STUDIO_PASSWORD", "--hf-token-from", "SPACE_TOKEN",
        "--backup", "dataset", "--hardware", "t4-small", "--sleep", "3600",
        "--variable", "DISTILL_STUDIO_CONTACT=ann@example.com",
    )  # fmt: skip
    assert report["url"] == f"{hub.url}/spaces/ann/studio"
    repo = hub.repo("ann/studio", "space")
    space = repo.space
    assert repo.private
    assert space.sdk == "gradio"
    assert {name: kept["value"] for name, kept in space.secrets.items()} == {
        "DISTILL_STUDIO_PASSWORD": PASSWORD,
        "HF_TOKEN": "hf_for_the_space",
    }
    assert {name: kept["value"] for name, kept in space.variables.items()} == {
        "DISTILL_STUDIO_OWNERS": "ann",
        "DISTILL_STUDIO_BACKUP": "hf://datasets/ann/studio-backup",
        "DISTILL_STUDIO_CONTACT": "ann@example.com",
    }
    assert (space.requested, space.sleep_s) == ("t4-small", 3600)
    assert hub.repo("ann/studio-backup", "dataset").private
    there = HfApi(endpoint=hub.url, token=TOKEN).list_repo_files("ann/studio", repo_type="space")
    assert set(there) - {".gitattributes"} == set(space_files.files())
    said = json.dumps(report)
    assert PASSWORD not in said
    assert "hf_for_the_space" not in said


def test_the_settings_are_there_before_the_files(hub, capsys):
    create(capsys, "--password-from", "STUDIO_PASSWORD", "--bucket", "ann/disk")
    changes = [path for method, path in hub.requests if method in ("POST", "PUT")]
    upload = next(n for n, path in enumerate(changes) if "/commit/" in path)
    for part in ("/secrets", "/variables", "/volumes"):
        assert any(part in path for path in changes[:upload]), part
    space = hub.repo("ann/studio", "space").space
    assert space.volumes == [{"type": "bucket", "source": "ann/disk", "mountPath": "/data"}]
    assert space.variables["DISTILL_STUDIO_BACKUP"]["value"] == "/data/backup"


def test_twice_changes_nothing(hub, capsys):
    words = ("--hardware", "t4-small", "--bucket", "ann/disk", "--variable", "A=1")
    create(capsys, *words)
    commits = len(list(HfApi(endpoint=hub.url, token=TOKEN).list_repo_commits(
        "ann/studio", repo_type="space")))  # fmt: skip
    hub.repo("ann/studio", "space").space.variables["DISTILL_STUDIO_OWNERS"]["value"] = "ann,bob"
    hub.requests.clear()
    again = create(capsys, *words)
    assert again["done"] == []
    changed = [p for m, p in hub.requests if m != "GET" and "preupload" not in p]
    changed = [p for p in changed if "validate-yaml" not in p]
    assert changed == []
    api = HfApi(endpoint=hub.url, token=TOKEN)
    assert len(list(api.list_repo_commits("ann/studio", repo_type="space"))) == commits
    kept = hub.repo("ann/studio", "space").space.variables["DISTILL_STUDIO_OWNERS"]["value"]
    assert kept == "ann,bob", "what somebody set on the settings page stays"


def test_a_change_and_a_file_that_is_gone(hub, capsys, tmp_path, monkeypatch):
    root = tmp_path / "repository"
    shutil.copytree(
        space_files.ROOT, root, ignore=shutil.ignore_patterns(".git", ".venv*", "__pycache__")
    )
    api = HfApi(endpoint=hub.url, token=TOKEN)
    from distill_studio.services.space_making import SpacePlan, make_space

    plan = SpacePlan("ann/studio")
    make_space(plan, api, root=root)
    api.upload_file(
        path_or_fileobj=b"mine", path_in_repo="notes.txt", repo_id="ann/studio", repo_type="space"
    )
    (root / "docs" / "hosting.md").unlink()
    (root / "app.py").write_text("# changed\n", encoding="utf-8")
    report = make_space(plan, api, root=root)
    assert [line for line in report.done if "delete 1" in line] == report.done
    there = api.list_repo_files("ann/studio", repo_type="space")
    assert "docs/hosting.md" not in there
    assert "notes.txt" in there, "what is not of this repository stays"


def test_only_the_list_goes_up(tmp_path):
    ours = ["app.py", "assets/x.json", "distill_studio/a.py", "requirements.txt"]
    others = [
        *(".env", "token.txt", "Makefile", "tests/test_x.py", "assets/.hidden.json"),
        *("distill_studio/__pycache__/a.pyc", "distill_studio/secret.env"),
        "distill_studio/data.duckdb",
    ]
    for name in [*ours, *others]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "assets" / "link.json").symlink_to("/etc/passwd")
    assert list(space_files.files(tmp_path)) == ours


def test_everything_that_git_keeps_and_the_app_reads_goes_up():
    """A file kind that is new to the package would be left out of a Space, and nobody told."""
    listed = set(space_files.files())
    missing = {
        path.relative_to(space_files.ROOT).as_posix()
        for folder in ("distill_studio", "assets")
        for path in (space_files.ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - listed
    assert missing == set()


def test_a_dry_run_only_looks(hub, capsys):
    said = run(capsys, "--repo", "ann/studio", "--dry-run", "--backup", "dataset",
               "--hf-token-from", "SPACE_TOKEN", "--hardware", "zero-a10g")  # fmt: skip
    assert "Make the private Space ann/studio" in said
    assert "hf_for_the_space" not in said
    assert {method for method, _ in hub.requests} == {"GET"}
    assert ("space", "ann/studio") not in hub.repos
    create(capsys)
    hub.requests.clear()
    run(capsys, "--repo", "ann/studio", "--dry-run")
    assert {method for method, _ in hub.requests} == {"GET"}


def test_a_public_one_is_asked_for_and_an_existing_one_stays_as_it_is(hub, capsys):
    create(capsys, "--public")
    assert not hub.repo("ann/studio", "space").private
    report = create(capsys)
    assert "public" in report["notes"][0]
    assert not hub.repo("ann/studio", "space").private


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--repo", "studio"], "user/name"),
        (["--repo", "ann/x", "--backup", "dataset"], "--hf-token-from"),
        (["--repo", "ann/x", "--backup", "somewhere"], "no place for backups"),
        (["--repo", "ann/x", "--backup", "/data/backup"], "--bucket"),
        (["--repo", "ann/x", "--secret", "NOT_SET"], "NOT_SET is empty"),
        (["--repo", "ann/x", "--variable", "OPENAI_API_KEY=sk-1"], "--secret"),
        (["--repo", "ann/x", "--variable", "nonsense"], "NAME=VALUE"),
        (["--repo", "bob/x"], "may not"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_made(hub, capsys, words, part):
    assert part in run(capsys, *words, code=1)
    assert not hub.repos


def test_no_login_no_billing_no_hub(hub, capsys, monkeypatch):
    hub.has_billing = False
    said = run(capsys, "--repo", "ann/studio", "--hardware", "t4-small", code=1)
    assert "payment method" in said
    assert ("space", "ann/studio") in hub.repos, "the rest stands; a second run goes on from there"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not take your token" in run(capsys, "--repo", "ann/studio", code=1)
    hub.add("ann/public-backup", "dataset")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said = run(capsys, "--repo", "ann/other", "--hf-token-from", "SPACE_TOKEN",
               "--backup", "hf://datasets/ann/public-backup", code=1)  # fmt: skip
    assert "public" in said
    hub.close()
    said = run(capsys, "--repo", "ann/studio", code=1)
    assert "cannot be reached" in said
    hub.start()
