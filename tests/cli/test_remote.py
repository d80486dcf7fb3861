"""`machines` and `train --on` in a shell, with the app stopped (a running one asks another Hub)."""

import json
from pathlib import Path

import pytest

from tests.fake_hub import FakeHub
from tests.tiny_model import build_tiny_model


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    return str(build_tiny_model(tmp_path / "tiny"))


@pytest.fixture
def frozen(studio, place, tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot `snap`; Jobs wait; the token is the environment's."""
    if place[1] != "main":
        pytest.skip("the running app asks another Hub")
    hub.runs_jobs = False
    monkeypatch.setenv("HF_TOKEN", hub.user("ann", "hf_in_the_environment"))
    monkeypatch.setattr("distill_studio.services.remote_work.POLL_S", 0.1)
    monkeypatch.setattr("distill_studio.services.remote_work._LONGEST_POLL_S", 0.2)
    file = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"What is {n}?", "answer": f"It is {n}."} for n in range(12)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    studio("import", str(file))
    studio("decide", "accept", "--all")
    studio("freeze", "snap", "--format", "prompt_completion")


def test_prices_a_check_and_a_job(studio, frozen: None, tiny: str, hub: FakeHub) -> None:
    said = studio("machines").out.splitlines()
    assert said[1].split()[:4] == ["a10g-small", "$1.00", "an", "hour"]
    asked = ("train", "snap", "--student", tiny, "--steps", "3")
    quote = studio(*asked, "--on", "a10g-small", "--limit", "40", "--check", "--json").json
    assert (quote["limit_minutes"], round(quote["limit_usd"], 2)) == (40, 0.67)
    assert not hub.jobs
    refused = studio(*asked, "--on", "h900", code=1)
    assert "is no machine for Jobs" in refused.err
    hub.fail("/api/jobs/ann$", 402, method="POST")
    refused = studio(*asked, "--on", "a10g-small", "--name", "far", code=1)
    assert "wants credit" in refused.err
    assert not hub.jobs


def test_elsewhere_prints_the_command(studio, frozen: None, tiny: str, hub: FakeHub) -> None:
    hub.fail("/tree/", after=60, act=hub.repos.clear)  # the wait has an end
    asked = ("train", "snap", "--student", tiny, "--steps", "3", "--name", "far")
    ran = studio(*asked, "--on", "elsewhere", code=1)
    assert "hf download ann/distill-far-" in ran.err
    assert "hf_in_the_environment" not in ran.err + ran.out
    assert not hub.jobs
