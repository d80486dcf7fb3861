"""What the tests of suites share: sums, models that say what a test wants, and the end of a job."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from distill_studio.core.actor import Actor
from distill_studio.core.protocols import ChatModel, ChatRequest
from distill_studio.core.records import JobState
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.services.comparable_models import ComparableModels
from distill_studio.teachers.scripted import ScriptedChatModel

SUMS = [
    {"question": f"What is {a} + {b}?", "answer": f"Add them.\n#### {a + b}", "topic": topic}
    for a, b, topic in [(1, 2, "small"), (3, 4, "small"), (50, 60, "big"), (70, 80, "big")]
]


class Scripted(ComparableModels):
    """Models that say what the test wants; everything else is the real thing."""

    def __init__(self, workspace, models: dict[str, ScriptedChatModel]) -> None:
        super().__init__(workspace)
        self.models = models

    def cards(self, actor: Actor) -> list[ModelCard]:
        return [
            ModelCard(id=name, label=name.partition(":")[2], role=ModelRole(name.partition(":")[0]))
            for name in self.models
        ]

    def source(self, card: ModelCard) -> Callable[[], ChatModel]:
        return lambda: self.models[card.id]


def adds(request: ChatRequest) -> str:
    """The right sum."""
    first, second = (int(word.strip("?")) for word in request.messages[-1].content.split()[2::2])
    return f"The answer is {first + second}."


def adds_small(request: ChatRequest) -> str:
    """The right sum of small numbers, else a wrong one."""
    return adds(request) if len(request.messages[-1].content) < 15 else "The answer is 7."


def upload(workspace, tmp_path: Path, rows: list[dict], name: str = "sums.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return workspace.studio.uploads.add(path)


def finish(workspace, owner, job, limit_s=240):
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        found = workspace.jobs.get(owner, job.id)
        if found.state not in (JobState.QUEUED, JobState.RUNNING):
            return found
        time.sleep(0.02)
    pytest.fail("the job did not end")
