"""Datasets of the Hub into seeds: a fake Hub, the real `datasets` and huggingface_hub."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound, StudioError, Unavailable
from distill_studio.core.records import JobState
from distill_studio.services import hub_tokens, importing
from distill_studio.services.hub_data import HubPlace
from distill_studio.store import pairs as pair_table
from tests.fake_hub import FakeHub
from tests.hub_data import card, jsonl, parquet, pointed_at, put

QUESTIONS = [{"question": f"What is {n} + {n}?", "answer": f"{2 * n}"} for n in range(30)]
REVIEWER = Actor(user="rita", role=Role.REVIEWER)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.user("ann")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pointed_at(hub, tmp_path / "hf"):
        yield hub
    hub.close()
    assert not [one for one in hub.unknown if "agent-harnesses" not in one]


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The client's back-off without its seconds."""
    found: list[float] = []
    patient = SimpleNamespace(sleep=found.append, time=time.time)  # the others sleep as ever
    for module in ("huggingface_hub.utils._http", "datasets.utils.file_utils"):
        monkeypatch.setattr(f"{module}.time", patient)
    return found


def add(hub: FakeHub, name: str = "ann/sums", **files) -> str:
    """A dataset in Parquet with two configurations; returns its commit."""
    repo = hub.add(name)
    configs = """license: mit
configs:
- config_name: main
  default: true
  data_files:
  - split: train
    path: main/train-*.parquet
  - split: test
    path: main/test.parquet
- config_name: hard
  data_files: hard/*.parquet"""
    return put(
        repo,
        {
            "README.md": card(configs),
            "main/train-0.parquet": parquet(QUESTIONS[:10]),
            "main/train-1.parquet": parquet(QUESTIONS[10:25]),
            "main/test.parquet": parquet(QUESTIONS[25:]),
            "hard/x.parquet": parquet([{"question": "Hard?", "answer": "Yes."}]),
            **files,
        },
    )


def ended(workspace, owner, job):
    return workspace.jobs.wait(owner, job.id, 120)


def test_a_dataset_is_listed_shown_and_imported(hub, workspace, owner):
    commit = add(hub)
    seeds = workspace.seeds
    found = seeds.hub_look(owner, HubPlace(dataset=f"{hub.url}/datasets/ann/sums"))
    assert (found.configs, found.config) == (["main", "hard"], "main")
    assert (found.splits, found.split, found.commit) == (["train", "test"], "train", commit)
    assert (found.revision, found.license, found.is_gated) == ("main", "mit", False)

    place = HubPlace(dataset="ann/sums", commit=commit, most_rows=20)
    seen = seeds.hub_preview(owner, place)
    assert (seen.format, seen.layout, seen.is_complete) == ("hub", "prompts and answers", True)
    assert (seen.counts.rows, seen.counts.seeds_new, seen.counts.pairs_new) == (20, 20, 20)
    assert seen.examples[0].prompt == "What is 0 + 0?"
    assert seen.file_name == f"ann/sums@{commit[:12]} (main, train)"
    asked = len(hub.requests)
    other = seeds.hub_preview(owner, place, seen.mapping.model_copy(update={"answer": ""}))
    assert (other.counts.pairs_new, len(hub.requests)) == (0, asked), "rows are not fetched again"
    assert seeds.count(owner) == 0, "a preview stores nothing"

    job = ended(workspace, owner, seeds.hub_import(owner, place))
    assert (job.state, job.title) == (JobState.DONE, "Import ann/sums (main, train)"), job.error
    assert job.result["counts"]["pairs_new"] == 20
    origin = {
        "dataset": "ann/sums",
        "config": "main",
        "split": "train",
        "revision": "main",
        "commit": commit,
    }
    stored = seeds.page(owner, limit=50)
    assert len(stored) == 20
    assert all(seed.extra["from_hub"] == origin for seed in stored)
    for pair in pair_table.page(workspace.db, pair_table.PairQuery(limit=50)):
        assert (pair.params["from_hub"], pair.source) == (origin, seen.file_name)


def test_nothing_is_stored_twice(hub, workspace, owner, tmp_path):
    """Neither by a second import, nor where a file brought the same rows before."""
    add(hub)
    file = tmp_path / "sums.jsonl"
    file.write_text(jsonl(QUESTIONS[:5]), encoding="utf-8")
    workspace.seeds.import_file(owner, workspace.studio.uploads.add(file))
    for new in (20, 0):
        job = ended(
            workspace, owner, workspace.seeds.hub_import(owner, HubPlace(dataset="ann/sums"))
        )
        counts = job.result["counts"]
        assert (counts["pairs_new"], counts["pairs_known"]) == (new, 25 - new)
    assert workspace.seeds.count(owner) == 25


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.jsonl", jsonl(QUESTIONS)),
        ("train.csv", "question,answer\n" + "".join(
            f"{row['question']},{row['answer']}\n" for row in QUESTIONS)),
        ("data/train-00000-of-00001.parquet", parquet(QUESTIONS)),
        ("train.json", json.dumps(QUESTIONS)),
    ],
)  # fmt: skip
def test_formats(hub, workspace, owner, name, content):
    put(hub.add("ann/plain"), {name: content, "LICENSE": "no data"})
    seen = workspace.seeds.hub_preview(owner, HubPlace(dataset="ann/plain"))
    assert (seen.counts.pairs_new, seen.counts.problem_count) == (30, 0)


def test_words_that_look_like_nothing_stay_words(hub, workspace, owner):
    put(
        hub.add("ann/words"),
        {"train.csv": "question,answer\nWhat is missing?,None\nWhat is NA?,NA\n"},
    )
    seen = workspace.seeds.hub_preview(owner, HubPlace(dataset="ann/words"))
    assert [example.answers for example in seen.examples] == [("None",), ("NA",)]


def test_conversations_and_a_bad_row(hub, workspace, owner):
    talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]
    rows = [{"messages": talk}, {"messages": talk[:1]}, {"messages": talk[1:]}]
    put(hub.add("ann/talk"), {"train.parquet": parquet(rows)})
    job = ended(workspace, owner, workspace.seeds.hub_import(owner, HubPlace(dataset="ann/talk")))
    counts = job.result["counts"]
    assert (counts["pairs_new"], counts["unanswered"], counts["problem_count"]) == (1, 1, 1)
    assert "does not begin with a turn of the user" in counts["problems"][0]["reason"]


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, workspace, owner):
    first = add(hub)
    repo = hub.repo("ann/sums")
    repo.tags["v1"] = repo.head
    second = put(repo, {"main/train-0.parquet": parquet([{"question": "New?", "answer": "Yes."}])})
    look = workspace.seeds.hub_look
    for revision, commit in (("", second), ("v1", first), (first, first), ("main", second)):
        assert look(owner, HubPlace(dataset="ann/sums", revision=revision)).commit == commit
    tree = "https://huggingface.co/datasets/ann/sums/tree/v1"
    assert look(owner, HubPlace(dataset=tree)).commit == first
    hard = look(owner, HubPlace(dataset="huggingface.co/datasets/ann/sums/viewer/hard/train"))
    assert (hard.config, hard.split) == ("hard", "train")
    job = workspace.seeds.hub_import(owner, HubPlace(dataset="ann/sums", revision="v1"))
    put(repo, {"main/train-0.parquet": parquet([])})
    repo.tags["v1"] = repo.head  # moved: the job still reads what it was
    done = ended(workspace, owner, job)
    assert done.result["counts"]["pairs_new"] == 25
    assert workspace.seeds.page(owner, limit=1)[0].extra["from_hub"]["revision"] == "v1"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"dataset": "ann/none"}, "no 'ann/none' that everybody may see"),
        ({"config": "easy"}, r"no configuration 'easy'.*It has: main, hard"),
        ({"split": "dev"}, r"no split 'dev'.*It has: train, test"),
        ({"revision": "v9"}, "no revision 'v9'"),
        ({"commit": "0" * 40}, "no revision"),
    ],
)  # fmt: skip
def test_what_is_not_there(hub, workspace, owner, place, said):
    add(hub)
    with pytest.raises(NotFound, match=said):
        workspace.seeds.hub_look(owner, HubPlace(**{"dataset": "ann/sums"} | place))


@pytest.mark.parametrize(
    "text",
    ["", "https://example.org/datasets/a/b", "https://huggingface.co/ann/model", "a/b/c", "../etc",
     "/etc/passwd", "http://169.254.169.254/datasets/a/b", "hf://models/a/b", "a b"],
)  # fmt: skip
def test_what_is_no_dataset(hub, workspace, owner, text):
    with pytest.raises(InvalidInput):
        workspace.seeds.hub_look(owner, HubPlace(dataset=text))
    assert not hub.requests


ELSEWHERE = [
    "http://169.254.169.254/x.csv",
    "https://example.org/x.csv",
    "zip://x.csv::https://example.org/x.zip",
    "/etc/hostname.csv",
    "../../x.csv",
    "hf://datasets/ann/sums/main/test.parquet",
]


@pytest.mark.parametrize("file", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize("path", ELSEWHERE)
@pytest.mark.parametrize("second", [False, True])
def test_a_card_that_names_other_places_is_refused(hub, workspace, owner, file, path, second):
    add(hub)
    bad = f"\n- config_name: bad\n  data_files:\n  - split: train\n    path: '{path}'"
    good = "\n- config_name: good\n  data_files: good.csv"
    body = "configs:" + (good + bad if second else bad)
    content = {file: card(body) if file == "README.md" else body, "good.csv": "question\nWhy?\n"}
    put(hub.add("ann/evil"), content)
    with pytest.raises(InvalidInput, match="is not a file of its repository"):
        workspace.seeds.hub_preview(owner, HubPlace(dataset="ann/evil"))
    assert not any(said.endswith("good.csv") for _, said in hub.requests)


def test_a_row_that_names_an_image_elsewhere_opens_nothing(hub, workspace, owner, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    features = "dataset_info:\n  features:\n  - name: question\n    dtype: string\n"
    row = {"question": "What is in it?", "image": {"bytes": None, "path": str(secret)}}
    files = {"README.md": card(features + "  - name: image\n    dtype: image")}
    put(hub.add("ann/pictures"), files | {"train.parquet": parquet([row])})
    job = workspace.seeds.hub_import(owner, HubPlace(dataset="ann/pictures"))
    assert ended(workspace, owner, job).result["counts"]["seeds_new"] == 1
    kept = workspace.seeds.page(owner)[0].extra["image"]
    assert kept == {"bytes": None, "path": str(secret)}, "its name is text like any other"


def test_no_code_of_a_dataset_runs(hub, workspace, owner, tmp_path):
    trace = tmp_path / "ran"
    put(
        hub.add("ann/code"),
        {"code.py": f"open({str(trace)!r}, 'w')", "train.csv": "question\nWhy?\n"},
    )
    with pytest.raises(InvalidInput, match="programs of datasets are never run"):
        workspace.seeds.hub_look(owner, HubPlace(dataset="ann/code"))
    assert not trace.exists()
    put(hub.add("ann/images"), {"train/a.png": b"x"})
    with pytest.raises(InvalidInput, match="no text or tables"):
        workspace.seeds.hub_look(owner, HubPlace(dataset="ann/images"))
    hub.add("ann/empty")
    with pytest.raises(InvalidInput, match="no data file that can be read"):
        workspace.seeds.hub_look(owner, HubPlace(dataset="ann/empty"))


# -- who may see it ---------------------------------------------------------------------------


def test_a_private_dataset_wants_a_token_of_an_owner(hub, workspace, owner, monkeypatch):
    add(hub)
    hub.repo("ann/sums").private = True
    place, seeds = HubPlace(dataset="ann/sums"), workspace.seeds
    with pytest.raises(NotFound, match=r"If it is private: Give a token.*HF_TOKEN"):
        seeds.hub_look(owner, place)
    with pytest.raises(NotAllowed, match="does not know this token"):
        workspace.hub.token(owner, "hf_wrong")
    hub_tokens.give(workspace, "hf_wrong")  # it was right when it was given
    with pytest.raises(NotAllowed, match="did not take the token"):
        seeds.hub_look(owner, place)
    workspace.hub.token(owner, "hf_ann")
    assert seeds.hub_look(owner, place).is_private
    with pytest.raises(NotFound, match="everybody may see"):
        seeds.hub_look(REVIEWER, place)  # others do not see with the owner's eyes
    with pytest.raises(NotAllowed):
        workspace.hub.token(REVIEWER, "hf_ann")
    job = ended(workspace, owner, seeds.hub_import(owner, place))
    assert job.state is JobState.DONE, job.error
    workspace.hub.token(owner, "")
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    assert seeds.hub_look(owner, place).is_private
    for file in workspace.studio.home.rglob("*"):
        if file.is_file():
            assert b"hf_ann" not in file.read_bytes(), file


def test_what_an_owner_saw_is_not_kept_for_others(hub, workspace, owner):
    commit = add(hub)
    hub.repo("ann/sums").private = True
    workspace.hub.token(owner, "hf_ann")
    place = HubPlace(dataset="ann/sums", commit=commit)
    workspace.seeds.hub_preview(owner, place)
    with pytest.raises(NotFound):
        workspace.seeds.hub_preview(REVIEWER, place)


def test_a_job_waits_for_a_token_that_is_gone(hub, workspace, owner):
    add(hub)
    hub.repo("ann/sums").private = True
    seeds = workspace.seeds
    workspace.hub.token(owner, "hf_ann")
    job = ended(workspace, owner, seeds.hub_import(owner, HubPlace(dataset="ann/sums")))
    hub_tokens.give(workspace, "")  # as after a restart
    workspace.jobs.resume(owner, job.id)
    waiting = ended_or_waiting(workspace, owner, job)
    assert (waiting.state, waiting.waits_for) == (JobState.NEEDS_KEY, hub_tokens.HUB)
    assert "Give it again on the Seeds tab" in waiting.error
    workspace.hub.token(owner, "hf_ann")
    assert ended(workspace, owner, job).result["counts"]["pairs_known"] == 25


def ended_or_waiting(workspace, owner, job):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        now = workspace.jobs.get(owner, job.id)
        if now.state in (JobState.NEEDS_KEY, JobState.FAILED, JobState.CANCELLED):
            return now
        time.sleep(0.05)
    pytest.fail(f"still {now.state}")


def test_a_gated_dataset(hub, workspace, owner):
    add(hub)
    hub.repo("ann/sums").gated = "manual"
    hub.user("bob")
    place, seeds = HubPlace(dataset="ann/sums"), workspace.seeds
    with pytest.raises(NotAllowed, match=r"is gated: .* accepted its terms.*/datasets/ann/sums"):
        seeds.hub_look(owner, place)
    workspace.hub.token(owner, "hf_bob")
    with pytest.raises(NotAllowed, match="has not been let in"):
        seeds.hub_look(owner, place)
    hub.repo("ann/sums").let_in.add("bob")
    found = seeds.hub_look(owner, place)
    assert found.is_gated
    assert seeds.hub_preview(owner, place).counts.rows == 25


# -- a Hub that has trouble -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, "asks to slow down"), (503, r"trouble of its own \(503\)"), (500, "trouble of its own")],
)
def test_a_hub_that_stumbles(hub, workspace, owner, waits, status, said):
    add(hub)
    hub.fail("/api/datasets/ann/sums", status, times=-1)
    with pytest.raises(Unavailable, match=said):
        workspace.seeds.hub_look(owner, HubPlace(dataset="ann/sums"))


def test_trouble_in_the_middle_of_an_import_loses_nothing(hub, workspace, owner, waits):
    add(hub)
    seeds = workspace.seeds
    job = seeds.hub_import(owner, HubPlace(dataset="ann/sums"))
    ended(workspace, owner, job)
    short = hub.fail("/datasets/ann/sums/.*parquet", 503, method="GET", times=1)
    job = seeds.hub_import(owner, HubPlace(dataset="ann/sums"))
    assert ended(workspace, owner, job).state is JobState.DONE
    assert short.hits == 1
    hub.fail("train-1.parquet", 429, times=-1)
    job = seeds.hub_import(owner, HubPlace(dataset="ann/sums", config="main", split="train"))
    failed = ended(workspace, owner, job)
    assert failed.state is JobState.FAILED
    assert "asks to slow down" in failed.error
    hub.faults.clear()
    workspace.jobs.resume(owner, job.id)
    assert ended(workspace, owner, job).state is JobState.DONE
    assert seeds.count(owner) == 25


def test_a_hub_that_is_away(hub, workspace, owner, monkeypatch):
    hub.close()
    with pytest.raises(Unavailable, match=r"cannot be reached.*bring it in as a file"):
        workspace.seeds.hub_look(owner, HubPlace(dataset="ann/sums"))
    hub.start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(StudioError, match="cannot be reached"):
        workspace.seeds.hub_look(owner, HubPlace(dataset="ann/sums"))


# -- much -------------------------------------------------------------------------------------


def after(then: Callable[[], object]) -> Callable[..., None]:
    """Storing a chunk of rows, which is told when it is stored."""
    real = importing._Import.store

    def store(self, rows) -> None:
        real(self, rows)
        then()

    return store


@pytest.mark.slow
def test_twenty_thousand_rows(hub, workspace, owner, tmp_path, monkeypatch):
    """A preview reads the first part only; an import stores rows before the last are there."""
    import random

    draw = random.Random(0)
    rows = [
        {"question": f"What is {n}?", "answer": draw.randbytes(1000).hex()} for n in range(20_000)
    ]
    content = parquet(rows, group=500)
    put(hub.add("ann/large"), {"train.parquet": content})
    size, seeds = len(content), workspace.seeds
    assert size > 20_000_000

    place = seeds.hub_look(owner, HubPlace(dataset="ann/large"))
    assert hub.sent_bytes < 100_000
    place = HubPlace(dataset="ann/large", commit=place.commit, most_rows=20_000)
    seen = seeds.hub_preview(owner, place)
    assert (seen.counts.rows, seen.is_complete) == (200, False)
    preview = hub.sent_bytes
    assert preview < 0.6 * size

    hub.fail("/datasets/ann/large/.*", times=-1, delay_s=0.05)
    sent: list[int] = []  # bytes, when the first rows were stored, and the next, and so on
    monkeypatch.setattr(
        importing._Import, "store", after(lambda: sent.append(hub.sent_bytes - preview))
    )
    now = ended(workspace, owner, seeds.hub_import(owner, place))
    assert now.state is JobState.DONE, now.error
    assert now.result["counts"]["pairs_new"] == 20_000
    assert sent[0] < 0.8 * size
    cached = sum(f.stat().st_size for f in (tmp_path / "hf").rglob("*") if f.is_file())
    assert cached < 1_000_000, "nothing of the rows lies in a cache"


def test_an_import_is_stopped_and_goes_on(hub, workspace, owner, monkeypatch):
    rows = [{"question": f"What is {n}?", "answer": str(n)} for n in range(6000)]
    put(hub.add("ann/many"), {"train.jsonl": jsonl(rows)})
    seeds, has_some, go_on = workspace.seeds, threading.Event(), threading.Event()
    with monkeypatch.context() as patch:
        held = after(lambda: (has_some.set(), go_on.wait(60)))
        patch.setattr(importing._Import, "store", held)
        job = seeds.hub_import(owner, HubPlace(dataset="ann/many"))
        assert has_some.wait(60)
        workspace.jobs.cancel(owner, job.id)
        go_on.set()
        assert ended(workspace, owner, job).state is JobState.CANCELLED
    assert seeds.count(owner) == 500
    workspace.jobs.resume(owner, job.id)
    done = ended(workspace, owner, job)
    assert (done.state, seeds.count(owner)) == (JobState.DONE, 6000)
    assert workspace.jobs.get(owner, job.id).note.startswith("6,000 rows read")
