"""`suites` and `lineage`, with the app stopped and with it running."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from distill_studio.core.records.seed import Message
from distill_studio.core.records.suite import SuiteItem
from distill_studio.judge import load_rubric
from tests.stub_openai import Answer, StubServer, completion

CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Peru": "Lima", "Spain": "Madrid",
    "Egypt": "Cairo", "Norway": "Oslo", "Ghana": "Accra", "Chile": "Santiago", "Cuba": "Havana",
}  # fmt: skip
NEW = "In which city does the government of Norway sit, and since when?"


def lost() -> int:
    """How many of the questions are of the practice half."""
    messages = [
        (Message(role="user", content=f"What is the capital of {land}?"),) for land in CAPITALS
    ]
    items = [SuiteItem(number=0, messages=one, reference="x") for one in messages]
    return sum(item.is_practice for item in items)


def reply(body: dict[str, Any]) -> Answer:
    asked = body["messages"][-1]["content"]
    if "numbered list" in asked:
        return Answer(completion(f"1. {NEW}"))
    right = next((city for land, city in CAPITALS.items() if land in asked), "")
    return Answer(completion(right if body["model"] == "right" else "Atlantis"))


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer(reply)
    yield server
    server.close()


def judged(body: dict[str, Any]) -> Answer:
    if body["model"] != "qwen-judge":
        return reply(body)
    points = 5 if "Paris" in body["messages"][-1]["content"] else 2
    scores = {aspect.name: points for aspect in load_rubric().aspects}
    return Answer(completion(json.dumps({"reason": "so", **scores})))


def test_a_judge_scores_and_its_family_is_named(studio, stub, tmp_path):
    stub.behave = judged
    file = tmp_path / "open.jsonl"
    prompts = ["What is the capital of France?", "What is the capital of Peru?"]
    file.write_text("\n".join(json.dumps({"prompt": one}) for one in prompts))
    for name, model in (("right", "right"), ("kin", "qwen-tiny"), ("judge", "qwen-judge")):
        studio("teacher", "add", name, "--model", model, "--url", stub.url)
    studio("suites", "add", str(file), "--scorer", "judge")
    asked = ("suites", "score", "open", "teacher:right", "teacher:kin")
    assert "none was chosen" in studio(*asked, code=1).err
    shown = studio(*asked, "--judge", "judge").out
    assert "62.5%" in shown  # 5 in all aspects once, 2 once
    assert "25.0%" in shown
    assert "judge  judge (qwen-judge)" in shown
    assert "scored model qwen-tiny are of one family" in " ".join(shown.split())


def test_scores_losses_and_the_way_back(studio, stub, tmp_path):
    file = tmp_path / "capitals.jsonl"
    file.write_text(
        "\n".join(
            json.dumps({"prompt": f"What is the capital of {land}?", "reference": city})
            for land, city in CAPITALS.items()
        )
        + '\n{"prompt": "And this one?"}'
    )
    for model in ("right", "wrong"):
        studio("teacher", "add", model, "--model", model, "--url", stub.url)
    assert "suites add FILE" in studio("suites", "list").out
    added = studio("suites", "add", str(file), "--scorer", "exact").out
    assert "capitals: 10 prompts" in added
    assert ": 1 row.\n  line 11: there is no reference answer." in added
    assert "capitals" in studio("suites", "list").out
    assert "No model was scored" in studio("suites", "show", "capitals", code=1).err
    shown = studio("suites", "score", "capitals", "teacher:right", "teacher:wrong").out
    assert "-100.0 points" in shown
    found = studio("suites", "show", "capitals", "--json").json
    assert [row["score"]["value"] for row in found["rows"]] == [1.0, 0.0]
    page = tmp_path / "page.html"
    studio("suites", "report", "capitals", "-o", str(page))
    html = page.read_text(encoding="utf-8")
    assert "Content-Security-Policy" in html
    assert "What is the capital of France?" in html
    back = studio("suites", "lost", "capitals", "wrong", "--prefer", "--seeds", "1").out
    assert f"wrong did worse than right on {lost()} of {lost()} prompts" in back
    assert f"{lost()} comparisons wait in Prefer." in back
    assert "1 new prompts are seeds." in back
    assert NEW in [row["messages"][-1]["content"] for row in studio("list", "seeds", "--json").json]
    assert "Nothing was scored yet." in studio("suites", "rounds", "capitals").out
    pair = studio("list", "preferences", "--json").json[0]["chosen_pair_id"]
    row = studio("lineage", pair, "--row", "--json").json
    assert row["pair"]["teacher"] == "right"
    assert row["preferences"][0]["is_chosen"]
    assert "teacher  right" in studio("lineage", pair, "--row").out
    assert "There is no run" in studio("lineage", "nobody", code=1).err
    refused = studio("suites", "score", "capitals", "teacher:right", "--first", "-1", code=1).err
    assert "The first -1 prompts cannot be asked" in refused
    priced = studio("suites", "show", "capitals", "--usd-per-hour", "3.6").out
    assert "USD per 1,000 answers" in priced
    assert f"retired, the practice half  {lost()}" in priced
    assert "1 earlier steps still stand." in studio("suites", "undo", "capitals").out
    assert "All prompts count again." in studio("suites", "undo", "capitals").out
    assert "Nothing was sent back" in studio("suites", "undo", "capitals").out
    assert "retired" not in studio("suites", "show", "capitals").out
