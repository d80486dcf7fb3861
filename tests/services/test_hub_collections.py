"""A collection of benchmarks from a fake Hub into the check for leaks."""

import json
from collections.abc import Iterator

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import JobState
from tests.fake_hub import FakeHub
from tests.hub_data import card, jsonl, parquet, pointed_at, put

SLUG = "ann/benchmarks-64f9a55bb3115b4f513ec026"


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.user("ann")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pointed_at(hub, tmp_path / "hf"):
        fill(hub)
        yield hub
    hub.close()
    assert not [one for one in hub.unknown if "agent-harnesses" not in one]


def items(what: str, count: int) -> list[dict[str, str]]:
    return [
        {"question": f"{what} {n}, is it {n * n} or not?", "answer": "yes"} for n in range(count)
    ]


def fill(hub: FakeHub) -> None:
    gsm = (
        "configs:\n- config_name: main\n  data_files:\n  - split: test\n    path: main/test.parquet"
    )
    put(
        hub.add("openai/gsm8k"),
        {"README.md": card(gsm), "main/test.parquet": parquet(items("Sum", 6))},
    )
    put(
        hub.add("ann/plain"),
        {"test.jsonl": jsonl(items("Plain", 4)), "train.jsonl": jsonl(items("No", 9))},
    )
    two = "configs:" + "".join(f"\n- config_name: {c}\n  data_files: {c}.csv" for c in "ab")
    csv = "question,answer\n{}?,yes\n"
    put(
        hub.add("ann/two"),
        {"README.md": card(two), "a.csv": csv.format("A"), "b.csv": csv.format("B")},
    )
    many = "configs:" + "".join(f"\n- config_name: c{n}\n  data_files: x.csv" for n in range(9))
    put(hub.add("ann/many"), {"README.md": card(many), "x.csv": csv.format("X")})
    put(hub.add("ann/numbers"), {"test.csv": "x,y\n1,2\n"})
    put(hub.add("ann/private", private=True), {"test.jsonl": jsonl(items("Private", 2))})
    evil = "configs:\n- config_name: x\n  data_files: https://example.org/x.csv"
    put(hub.add("ann/evil"), {"README.md": card(evil)})
    names = ("openai/gsm8k", "ann/plain", "ann/two", "ann/many", "ann/numbers", "ann/private",
             "ann/evil", "ann/gone")  # fmt: skip
    listed = [("dataset", name, "Sums of school" if "gsm8k" in name else "") for name in names]
    hub.collect(SLUG, "Benchmarks", [*listed, ("model", "ann/model", "")])


def test_what_it_holds_is_said_before_anything_is_fetched(hub, workspace, owner):
    found = workspace.leaks.collection(owner, f"https://huggingface.co/collections/{SLUG}")
    assert (found.title, len(found.items)) == ("Benchmarks", 9)
    first, *_, last = found.items
    assert (first.dataset, first.note, first.known) == ("openai/gsm8k", "Sums of school", ["GSM8K"])
    assert last.problem == "It is a model."
    assert [path for _, path in hub.requests if "agent" not in path] == [f"/api/collections/{SLUG}"]


def test_each_is_added_or_the_reason_why_not(hub, workspace, owner):
    leaks = workspace.leaks
    done = workspace.jobs.wait(owner, leaks.add_collection(owner, SLUG).id, 120)
    assert done.state is JobState.DONE, done.error
    found = {(one["name"] or one["dataset"]): one for one in done.result["packs"]}
    added = {name: one["items"] for name, one in found.items() if not one["problem"]}
    assert added == {"GSM8K": 6, "plain": 4, "two a": 1, "two b": 1}
    assert all(found[name]["is_new"] for name in added)
    for name, said in {
        "ann/many": "has 9 configurations: c0, c1",
        "ann/numbers": "No column holds prompts",
        "ann/private": "everybody may see",
        "ann/evil": "is not a file of its repository",
        "ann/gone": "no 'ann/gone'",
        "ann/model": "It is a model.",
    }.items():
        assert said in found[name]["problem"], found[name]
    packs = {pack.name: pack for pack in leaks.packs(owner)}
    assert set(packs) == set(added)
    commit = hub.repo("ann/plain").head.id[:12]
    assert packs["plain"].source == f"Hub ann/plain default test @{commit}"

    again = workspace.jobs.wait(owner, leaks.add_collection(owner, SLUG, ["ann/plain"]).id, 60)
    assert [(one["name"], one["is_new"]) for one in again.result["packs"]] == [("plain", False)]


def test_a_list_of_datasets_and_what_is_chosen(hub, workspace, owner):
    leaks = workspace.leaks
    text = "ann/plain, https://huggingface.co/datasets/ann/many/viewer/c3"
    found = leaks.collection(owner, text)
    assert [(one.dataset, one.place.config) for one in found.items] == [
        ("ann/plain", ""),
        ("ann/many", "c3"),
    ]
    assert not hub.requests
    done = workspace.jobs.wait(owner, leaks.add_collection(owner, text, ["ann/many"]).id, 60)
    assert [one["name"] for one in done.result["packs"]] == ["many"]
    with pytest.raises(NotFound, match="does not hold ann/other"):
        leaks.add_collection(owner, text, ["ann/other"])
    with pytest.raises(InvalidInput, match="No dataset is chosen"):
        leaks.add_collection(owner, text, [])


def test_no_collection_and_a_private_one(hub, workspace, owner):
    leaks, slug = workspace.leaks, "ann/hidden-64f9a55bb3115b4f513ec027"
    with pytest.raises(NotFound, match=f"no '{slug}'"):
        leaks.collection(owner, slug)
    hub.collect(slug, "Hidden", [("dataset", "ann/private", "")], private=True)
    workspace.hub.token(owner, "hf_ann")
    done = workspace.jobs.wait(owner, leaks.add_collection(owner, slug).id, 60)
    assert [one["items"] for one in done.result["packs"]] == [2]
    with pytest.raises(NotFound):
        leaks.collection(Actor(user="rita", role=Role.REVIEWER), slug)
    with pytest.raises(InvalidInput):
        leaks.collection(owner, "")


def test_one_dataset_and_a_well_known_one(hub, workspace, owner):
    leaks = workspace.leaks
    alpaca = [{"instruction": "Say why the sky is blue."}, {"instruction": "Name a river."}]
    put(hub.add("tatsu-lab/alpaca_eval"), {"alpaca_eval.json": json.dumps(alpaca)})
    for job in (
        leaks.add_known(owner, "gsm8k"),
        leaks.add_known(owner, "AlpacaEval"),  # one that lies beside a program, as a file
        leaks.add_hub(owner, "ann/plain", name="mine"),
    ):
        done = workspace.jobs.wait(owner, job.id, 60)
        assert done.state is JobState.DONE, done.error
    packs = {pack.name: pack for pack in leaks.packs(owner)}
    assert {name: pack.items for name, pack in packs.items()} == {
        "GSM8K": 6, "AlpacaEval": 2, "mine": 4,
    }  # fmt: skip
    commit = hub.repo("openai/gsm8k").head.id[:12]
    assert packs["GSM8K"].source == f"Hub openai/gsm8k main test @{commit}"
    [asked] = workspace.db.rows("SELECT prompt FROM leak_items WHERE prompt LIKE 'Sum 3,%'")
    assert asked["prompt"] == items("Sum", 4)[3]["question"]


def test_a_reviewer_reads_nothing_with_the_owners_token(hub, workspace, owner):
    workspace.hub.token(owner, "hf_ann")
    rita = Actor(user="rita", role=Role.REVIEWER)
    for who, state in ((rita, JobState.FAILED), (owner, JobState.DONE)):
        job = workspace.leaks.add_hub(who, "ann/private")
        ended = workspace.jobs.wait(who, job.id, 60)
        assert ended.state is state, ended.error
        assert ("everybody may see" in ended.error) == (who is rita)
