"""Snapshots and models on their way to the Hub, from a real studio to a fake Hub."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, HfApi, ModelCard

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import (
    Decision,
    DecisionKind,
    Job,
    JobState,
    Message,
    Pair,
    Run,
    RunState,
    Seed,
)
from distill_studio.core.settings import Settings
from distill_studio.distill.spec import TrainSpec
from distill_studio.services import operations
from distill_studio.services.jobs import NeedsKey
from distill_studio.services.workspace import Workspace
from distill_studio.store import decisions, pairs, runs, seeds
from tests.fake_hub import FakeHub
from tests.fake_hub.cards import problems_of
from tests.tiny_model import build_tiny_model

STARTER = "SmolLM2 135M (this machine)"


def freeze(workspace: Workspace, owner: Actor, name: str = "first", *, secret: str = "") -> None:
    """A snapshot of twelve answers of the starter teacher, whose terms are free."""
    made = []
    for number in range(12):
        messages = (Message(role="user", content=f"{name} question {number}"),)
        seed = Seed(messages=messages)
        seed_id = seeds.insert(workspace.db, [seed])[seed.id]
        answer = f"answer {number} {secret if number == 3 else ''}".strip()
        facts = {"teacher": STARTER, "model": "smollm2-135m-instruct", "recipe": "answer"}
        made.append(
            Pair(seed_id=seed_id, messages=messages, answer=answer, source="mails.csv", **facts)
        )
    pairs.insert(workspace.db, made)
    accept = DecisionKind.ACCEPT
    said = [Decision(id=f"d-{pair.id}", pair_id=pair.id, kind=accept) for pair in made]
    decisions.record(workspace.db, owner.user, said)
    workspace.freeze.create(owner, name)


def train(workspace: Workspace, owner: Actor, name: str = "first-sft", **student: object) -> Run:
    """A finished run on `first`, as the worker leaves it (its weights are a few bytes)."""
    folder = workspace.folder / "runs" / name
    snapshot = workspace.freeze.get(owner, "first")
    cache = str(workspace.studio.home / "cache" / "models" / "small")
    config = {
        "name": name,
        "method": "sft",
        "student": {"base_folder": cache, "base_id": "smollm2-135m-instruct", **student},
        "data": {
            "folder": str(workspace.freeze.folder("first")),
            "name": "first",
            "format": "messages",
            "content_hash": snapshot.content_hash,
        },
        "lora": {"r": 4, "alpha": 8},
    }
    for kind, files in (
        ("model", {"config.json": b"{}", "model.safetensors": b"weights"}),
        (
            "adapter",
            {
                "adapter_config.json": json.dumps({"base_model_name_or_path": cache}).encode(),
                "adapter_model.safetensors": b"few weights",
            },
        ),
    ):
        (folder / kind).mkdir(parents=True)
        for file, content in files.items():
            (folder / kind / file).write_bytes(content)
    (folder / "run.json").write_text(json.dumps(config))
    metrics = {"loss_before": 2.0, "loss_after": 1.5, "steps": 3}
    run = Run(
        name=name,
        method="sft",
        snapshot_id=snapshot.id,
        config=config,
        state=RunState.DONE,
        metrics=metrics,
    )
    runs.insert(workspace.db, run)
    return run


def finished(workspace: Workspace, owner: Actor, job: Job) -> Job:
    done = workspace.jobs.wait(owner, job.id, 60)
    assert done.state is JobState.DONE, done.error
    return done


@pytest.fixture
def token(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> str:
    """In the environment, as on a Space."""
    given = hub.user("ann", "hf_planted0planted0planted", orgs=("lab",))
    monkeypatch.setenv("HF_TOKEN", given)
    return given


def test_a_snapshot_goes_to_the_hub(
    workspace: Workspace, owner: Actor, hub: FakeHub, token: str, tmp_path: Path
) -> None:
    freeze(workspace, owner)
    found = workspace.hub.check(owner, "snapshot", "first")
    assert (found.repo, found.kind, found.tag, found.warnings) == (
        *("main-first", "dataset", "first", []),
    )
    done = finished(workspace, owner, workspace.hub.push(owner, "snapshot", "first"))
    repo = hub.repo("ann/main-first")
    assert repo.private
    assert repo.tags["first"].id == done.result["commit"]
    assert done.done == done.total == 1
    api = HfApi(endpoint=hub.url, token=token)
    got = Path(
        api.snapshot_download(
            "ann/main-first", repo_type="dataset", revision="first", cache_dir=tmp_path / "cache"
        )
    )
    folder = workspace.freeze.folder("first")
    assert pq.read_table(got / "train.parquet").equals(pq.read_table(folder / "train.parquet"))
    assert (got / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    card = (got / "README.md").read_text(encoding="utf-8")
    assert problems_of(card, "dataset") == ([], [])
    for said in (
        "| mails.csv | 12 |",
        "| answer | 12 |",
        "smollm2-135m-instruct | 12 | Apache-2.0",
        "One person decided on these rows.",
    ):
        assert said in card, said
    (page,) = workspace.hub.page(owner)
    assert (page.url, page.private) == (f"{hub.url}/datasets/ann/main-first", True)


def test_a_model_goes_to_the_hub_without_this_machines_folders(
    workspace: Workspace, owner: Actor, hub: FakeHub, token: str
) -> None:
    freeze(workspace, owner)
    train(workspace, owner)
    finished(workspace, owner, workspace.hub.push(owner, "snapshot", "first", licence="mit"))
    for form, weights in (
        ("merged", "model.safetensors"),
        ("adapter", "adapter_model.safetensors"),
    ):
        arguments = {"what": "model", "name": "first-sft", "form": form, "repo": f"lab/{form}"}
        assert workspace.hub.check(owner, **arguments).warnings == []
        finished(workspace, owner, workspace.hub.push(owner, **arguments))
        files = hub.repo(f"lab/{form}", "model").files("first-sft")
        assert {weights, "run.json", "README.md", "distill_studio.json"} <= set(files)
        assert not any(str(workspace.studio.home).encode() in one for one in files.values())
        card = files["README.md"].decode()
        assert problems_of(card, "model") == ([], [])
        data = ModelCard(card).data.to_dict()
        assert data["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
        assert (data["license"], data["datasets"]) == ("apache-2.0", ["ann/main-first"])
        assert "| Held-out loss after | 1.5000 |" in card
        assert "| mails.csv | " in card
    named = json.loads(files["adapter_config.json"])
    assert named["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    # The snapshot's card tells of the model from now on.
    again = finished(workspace, owner, workspace.hub.push(owner, "snapshot", "first"))
    card = hub.repo("ann/main-first").files()["README.md"].decode()
    assert "| first-sft | SFT | 2.0000 to 1.5000 |" in card
    assert hub.repo("ann/main-first").tags["first"].id != again.result["commit"]
    assert DatasetCard(card).data.license == "other"


def test_warnings_need_an_explicit_yes(
    workspace: Workspace, owner: Actor, hub: FakeHub, token: str
) -> None:
    freeze(workspace, owner, secret="write to jane.doe@acme-mail.com, AKIAQ7RZ3KXW9PLM2VTB")
    found = workspace.hub.check(owner, "snapshot", "first", private=False)
    assert [one.code for one in found.warnings] == ["secrets", "personal", "public"]
    assert "e-mail addresses in 1 rows" in found.warnings[1].message
    with pytest.raises(Conflict, match=r"look like|looks like.*Push all the same"):
        workspace.hub.push(owner, "snapshot", "first")
    assert not hub.repos
    assert workspace.jobs.page(owner, kinds=["hub_push"]) == []
    finished(workspace, owner, workspace.hub.push(owner, "snapshot", "first", anyway=True))
    assert hub.repo("ann/main-first").private


def test_of_rows_beyond_the_first_counts_what_curate_measured(
    workspace: Workspace,
    owner: Actor,
    hub: FakeHub,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distill_studio.services.hub_upload._MOST_READ", 2)
    freeze(workspace, owner, secret="write to jane.doe@acme-mail.com")
    found = workspace.hub.check(owner, "snapshot", "first").warnings
    told = {one.code: one.message for one in found}
    assert "10 rows were not looked through" in told["unread"]
    finished(workspace, owner, workspace.curate.measure(owner))
    found = workspace.hub.check(owner, "snapshot", "first").warnings
    assert [one.code for one in found] == ["personal"]
    assert "in 1 rows" in found[0].message


def test_an_adapter_of_a_pruned_base_is_told(
    workspace: Workspace, owner: Actor, hub: FakeHub, token: str
) -> None:
    freeze(workspace, owner)
    train(workspace, owner, keep_layers=24)
    found = workspace.hub.check(owner, "model", "first-sft", form="adapter")
    assert [one.code for one in found.warnings] == ["base_missing"]
    assert "24 layers kept" in found.warnings[0].message
    with pytest.raises(InvalidInput, match="fits only its own base"):
        workspace.distill.package(owner, "first-sft", "adapter")
    assert workspace.distill.package(owner, "first-sft", "merged") == "first-sft-merged.zip"
    arguments = {"what": "model", "name": "first-sft", "form": "adapter", "repo": "ann/few"}
    finished(workspace, owner, workspace.hub.push(owner, **arguments, anyway=True))
    named = json.loads(hub.repo("ann/few", "model").files()["adapter_config.json"])
    assert named["base_model_name_or_path"] == "small", "not the whole model's id"
    assert workspace.hub.check(owner, "model", "first-sft").warnings == []


def test_a_token_for_the_session_is_nowhere_on_disk(
    settings: Settings, hub: FakeHub, owner: Actor, caplog: pytest.LogCaptureFixture
) -> None:
    secret = hub.user("ann", "hf_planted1planted1planted")
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    freeze(workspace, owner)
    with pytest.raises(NeedsKey, match="no token"):
        workspace.hub.push(owner, "snapshot", "first")
    assert workspace.hub.account(owner).token_from == ""
    account = workspace.hub.token(owner, f" {secret}\n")
    assert (account.user, account.orgs, account.token_from) == ("ann", (), "session")
    hub.fail("/commit/", 400, message=f"said {secret[:5]}")
    job = workspace.jobs.wait(owner, workspace.hub.push(owner, "snapshot", "first").id, 60)
    assert job.state is JobState.FAILED
    hub.fail("preupload", delay_s=2.0)
    workspace.jobs.resume(owner, job.id)
    studio.close()  # in the middle of it: the job stays for the next start, the token does not
    studio = build_studio(settings)
    workspace = studio.workspace("main")
    job = workspace.jobs.wait(owner, job.id, 60)
    assert (job.state, job.waits_for) == (JobState.NEEDS_KEY, "the Hugging Face Hub")
    assert not hub.repo("ann/main-first").files()
    workspace.hub.token(owner, secret)
    finished(workspace, owner, job)
    assert "train.parquet" in hub.repo("ann/main-first").files()
    assert workspace.hub.token(owner, "").token_from == ""
    studio.close()
    written = [path for path in settings.home.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if secret.encode() in path.read_bytes()]
    assert secret not in caplog.text
    assert all(secret.encode() not in one for one in hub.repo("ann/main-first").files().values())


@pytest.mark.parametrize("bad", ["hf_with space in it", "hf_line\nbreak0000"])
def test_what_is_no_token_is_not_repeated(
    workspace: Workspace,
    owner: Actor,
    hub: FakeHub,
    bad: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InvalidInput) as failure:
        workspace.hub.token(owner, bad)
    assert bad not in str(failure.value)
    with pytest.raises(NotAllowed, match="does not know this token"):
        workspace.hub.token(owner, "hf_unknown_to_the_hub")
    assert workspace.hub.account(owner).token_from == ""
    monkeypatch.setenv("HF_TOKEN", bad)
    with pytest.raises(InvalidInput) as failure:
        workspace.hub.account(owner)
    assert bad not in str(failure.value)


def test_only_owners_push(workspace: Workspace, owner: Actor, hub: FakeHub, token: str) -> None:
    freeze(workspace, owner)
    reviewer = Actor(user="rita", role=Role.REVIEWER)
    for call in (
        lambda: workspace.hub.push(reviewer, "snapshot", "first"),
        lambda: workspace.hub.token(reviewer, "hf_whatever"),
        lambda: workspace.hub.account(reviewer),
    ):
        with pytest.raises(NotAllowed):
            call()
    viewer = Actor(user="vic", role=Role.VIEWER)
    assert workspace.hub.check(viewer, "snapshot", "first").repo == "main-first"
    assert workspace.hub.card(viewer, "snapshot", "first").startswith("---\n")
    assert not hub.requests


def test_what_cannot_be_pushed(
    workspace: Workspace, owner: Actor, hub: FakeHub, token: str
) -> None:
    freeze(workspace, owner)
    refused: tuple[tuple[dict, type[Exception]], ...] = (
        ({"name": "none"}, NotFound),
        ({"what": "model", "name": "none"}, NotFound),
        ({"repo": "a/b/c"}, InvalidInput),
        ({"repo": "ann/.."}, InvalidInput),
        ({"tag": "main"}, InvalidInput),
        ({"tag": "a..b"}, InvalidInput),
        ({"licence": "My own"}, InvalidInput),
    )
    for wrong, kind in refused:
        with pytest.raises(kind):
            arguments = {"what": "snapshot", "name": "first"} | wrong
            operations.call(workspace, owner, "hub_push", arguments)
    assert not hub.requests


def test_a_failure_is_told_and_the_push_resumes(
    workspace: Workspace, owner: Actor, hub: FakeHub, token: str
) -> None:
    freeze(workspace, owner)
    HfApi(endpoint=hub.url, token=token).create_repo("ann/taken", repo_type="dataset")
    job = workspace.hub.push(owner, "snapshot", "first", repo="ann/taken")
    job = workspace.jobs.wait(owner, job.id, 60)
    assert job.state is JobState.FAILED
    assert "exists already and is public" in job.error
    HfApi(endpoint=hub.url, token=token).update_repo_settings(
        "ann/taken", repo_type="dataset", private=True
    )
    workspace.jobs.resume(owner, job.id)
    finished(workspace, owner, job)
    assert "train.parquet" in hub.repo("ann/taken").files()


@pytest.mark.slow
def test_what_was_pushed_loads_elsewhere(
    workspace: Workspace, owner: Actor, hub: FakeHub, token: str, tmp_path: Path
) -> None:
    """A real training; its model, its adapter and its data from the Hub into a new folder."""
    freeze(workspace, owner)
    base = build_tiny_model(tmp_path / "tiny")
    spec = TrainSpec(
        snapshot="first",
        student=str(base),
        name="tiny-sft",
        max_steps=2,
        max_length=64,
        dtype="fp32",
    )
    run = workspace.distill.start(owner, spec)
    done = workspace.jobs.wait(owner, run.job_id, 240)
    assert done.state is JobState.DONE, done.error
    finished(workspace, owner, workspace.hub.push(owner, "snapshot", "first"))
    for form in ("merged", "adapter"):
        arguments = {"what": "model", "name": "tiny-sft", "form": form, "repo": f"ann/{form}"}
        found = workspace.hub.check(owner, **arguments)
        assert [one.code for one in found.warnings] == (
            ["base_missing"] if form == "adapter" else []
        )
        finished(workspace, owner, workspace.hub.push(owner, **arguments, anyway=True))
        files = hub.repo(f"ann/{form}", "model").files()
        assert not any(str(tmp_path).encode() in content for content in files.values())
    api = HfApi(endpoint=hub.url, token=token)
    cache = tmp_path / "elsewhere"
    merged = api.snapshot_download("ann/merged", cache_dir=cache)
    adapter = api.snapshot_download("ann/adapter", cache_dir=cache)
    data = api.snapshot_download("ann/main-first", repo_type="dataset", cache_dir=cache)

    from datasets import load_dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(merged)("say sun", return_tensors="pt")
    whole = AutoModelForCausalLM.from_pretrained(merged)(**tokens).logits
    put_on = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    assert (put_on(**tokens).logits - whole).abs().max() < 1e-3
    loaded = load_dataset(data, cache_dir=str(tmp_path / "datasets"))
    assert sum(split.num_rows for split in loaded.values()) == 12
