"""What the shell says while it waits for a job: true also of one that is paid elsewhere."""

from types import SimpleNamespace
from typing import Any

import pytest
import typer

from distill_studio.cli import waiting
from distill_studio.core.errors import Cancelled

RENTED = {
    "id": "j1", "kind": "train_remote", "title": "Train far", "done": 0, "total": None, "note": "",
    "error": "The Job ended.", "params": {"run": "far"},
}  # fmt: skip


def session(state: str, asked: list[str]) -> Any:
    def call(name: str, **_: Any) -> dict[str, Any]:
        asked.append(name)
        return RENTED | {"state": state}

    return SimpleNamespace(client=SimpleNamespace(call=call))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("cancelled", "Resume the run 'far' on the Distill page"),
        ("failed", "Resume the run 'far' on the Distill page"),
        ("needs_key", "Set HF_TOKEN in the environment, then: jobs resume j1"),
    ],
)
def test_a_paid_run_is_not_resumed_by_its_job(state: str, said: str) -> None:
    with pytest.raises((Cancelled, waiting.JobFailed)) as told:
        waiting.finish(session(state, []), RENTED | {"state": state})
    assert said in str(told.value)
    assert ("jobs resume" in str(told.value)) == (state == "needs_key")


@pytest.mark.parametrize("state", ["running", "cancelled"])
def test_ctrl_c_says_whether_a_job_may_still_run(
    state: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_STOP_LIMIT_S", 0.5)
    asked: list[str] = []

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting._ProgressLine, "show", interrupted)
    with pytest.raises(typer.Exit):
        waiting.finish(session(state, asked), RENTED | {"state": "running"})
    assert asked[0] == "jobs_cancel"
    said = capsys.readouterr().err
    assert "nothing of it is kept" in said
    assert "what it has made stays" not in said
    assert ("may still run, and cost money" in said) == (state == "running")
