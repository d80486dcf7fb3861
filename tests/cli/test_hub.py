"""`hub` in a shell, with the app stopped and with it running."""

import json
from pathlib import Path

import pytest

from tests.fake_hub import FakeHub


@pytest.fixture
def frozen(studio, tmp_path: Path) -> None:
    """A snapshot `snap` of rows whose teacher nobody noted terms of."""
    file = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"What is {n}?", "answer": f"It is {n}."} for n in range(12)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    studio("import", str(file))
    studio("decide", "accept", "--all")
    studio("freeze", "snap")


def test_check_and_card_ask_nobody(studio, frozen: None) -> None:
    found = studio("hub", "check", "snapshot", "snap", "--public", "--json").json
    assert (found["kind"], found["tag"], found["private"]) == ("dataset", "snap", False)
    assert [one["code"] for one in found["warnings"]] == ["unknown_terms", "public"]
    said = studio("hub", "check", "snapshot", "snap").out
    assert "look first: No terms are stated for" in said
    card = studio("hub", "card", "snapshot", "snap", "--licence", "cc-by-4.0").out
    assert card.startswith("---\n")
    assert "license: cc-by-4.0" in card
    assert studio("hub", "list").out == ""


def test_a_push(studio, frozen: None, place, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = studio("hub", "push", "snapshot", "snap", code=1)
    assert "Push all the same" in refused.err
    refused = studio("hub", "push", "snapshot", "snap", "--anyway", code=1)
    assert "There is no token" in refused.err
    if place[1] != "main":
        return  # the running app asks another Hub
    monkeypatch.setenv("HF_TOKEN", hub.user("ann", "hf_in_the_environment"))
    ran = studio("hub", "push", "snapshot", "snap", "--anyway")
    assert ran.out.strip() == f"{hub.url}/datasets/ann/main-snap"
    assert "train.parquet" in hub.repo("ann/main-snap").files("snap")
    assert "(private, tag snap)" in studio("hub", "list").out
