"""`arena`, with the app stopped and with it running."""

import json
from typing import Any

import pytest

from tests.stub_openai import Answer, StubServer, completion


def reply(body: dict[str, Any]) -> Answer:
    """Answers to questions; as a judge, for the longer of two answers."""
    asked = body["messages"][-1]["content"]
    if "Answer A" not in asked:
        return Answer(pieces=(f"{body['model']} says ", "more " * (body["model"] == "long")))
    is_first = asked.index("long says") < asked.index("short says")
    return Answer(completion(json.dumps({"reason": "r", "better": "A" if is_first else "B"})))


@pytest.fixture
def stub():
    server = StubServer(reply)
    yield server
    server.close()


def test_a_judge_votes_and_models_are_ranked(studio, stub):
    for model in ("long", "short", "gpt-4o"):
        studio("teacher", "add", model, "--model", model, "--url", stub.url)
    assert "arena judge NAME" in studio("arena", "show").out
    assert "no comparison to vote on" in studio("arena", "judge", "gpt-4o", code=1).err
    for prompt in ("one", "two"):
        told = studio("compare", prompt, "--model", "teacher:long", "--model", "teacher:short")
        assert told.out.count(", free)") == 2  # what each cost: the server is of this machine
    assert "no teacher" in studio("arena", "judge", "nobody", code=1).err
    judged = studio("arena", "judge", "gpt-4o", "--json")
    assert judged.json["result"] == {"said": {"left": 2}, "judge": "gpt-4o", "cost_usd": 0.0}
    assert "judges its own answers" in studio("arena", "judge", "long").err
    found = studio("arena", "show", "--json", "--voter", "gpt-4o").json
    assert (found["n"], found["sources"], found["judge_votes"]) == (2, "judges", 4)
    assert [row["model"] for row in found["rows"]] == ["long", "short"]
    assert "100%" in studio("arena", "show").out
    assert studio("arena", "show", "--csv").out.startswith("model,rating,low,high,n,prompts,")
    assert "gpt-4o" in studio("arena", "judges").out
