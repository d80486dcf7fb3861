import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from distill_studio.core.errors import Cancelled, TeacherError, TeacherUnauthorised
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatModel, ChatReply
from distill_studio.core.records import Message, Seed
from distill_studio.generate.drive import Ended
from distill_studio.generate.effects import Dropped, Made, Unit
from distill_studio.generate.meter import Meter, in_words
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.runner import Commit, Endpoint, Line, Outcome, Runner
from distill_studio.teachers.scripted import ScriptedChatModel


def units(teacher: str, count: int, pulled: list[int] | None = None) -> Iterator[Unit]:
    for i in range(count):
        if pulled is not None:
            pulled[0] += 1
        yield Unit(Seed(messages=(Message(role="user", content=f"Q{i}"),)), 0, teacher)


def answer(request) -> str:
    return f"A to {request.messages[-1].content}"


class Rows:
    """Takes commits and remembers how large each was."""

    def __init__(self) -> None:
        self.ended: list[Ended] = []
        self.groups: list[int] = []

    def commit(self, group: Sequence[Outcome]) -> None:
        self.ended += [outcome for outcome in group if isinstance(outcome, Ended)]
        self.groups.append(len(group))

    @property
    def texts(self) -> dict[str, str]:
        """Prompt -> answer, of those answered."""
        return {
            e.unit.seed.prompt: e.result.drafts[0].reply.text
            for e in self.ended
            if isinstance(e.result, Made)
        }

    @property
    def failed(self) -> list[Dropped]:
        return [e.result for e in self.ended if isinstance(e.result, Dropped)]


@dataclass
class Asking:
    """A teacher and what it is asked."""

    name: str
    model: ChatModel
    units: Iterator[Unit]
    workers: int = 1


def start(commit: Commit, asking: list[Asking], cancel: CancelToken | None = None) -> None:
    points = [Endpoint(a.name, a.model, a.workers) for a in asking]
    lines = [Line(a.units, (a.name,), a.workers) for a in asking]
    no_help: Any = None  # the direct recipe only asks
    runner = Runner(RECIPES["direct"], Settings(), points, no_help, commit, cancel or CancelToken())
    asyncio.run(runner.run(lines))


def run(asking: list[Asking]) -> Rows:
    rows = Rows()
    start(rows.commit, asking)
    return rows


def test_everything_is_answered_once_and_pulled_only_when_there_is_room() -> None:
    pulled, answered, furthest = [0], [0], [0]

    def reply(request) -> str:
        furthest[0] = max(furthest[0], pulled[0] - answered[0])
        answered[0] += 1
        return answer(request)

    rows = run([Asking("T", ScriptedChatModel("m", reply), units("T", 2000, pulled), workers=8)])
    assert len(rows.ended) == 2000
    assert rows.texts == {f"Q{i}": f"A to Q{i}" for i in range(2000)}
    assert furthest[0] <= 8 + 1
    assert max(rows.groups) <= 200


def test_replies_are_committed_soon_after_they_arrive() -> None:
    """No later than when nothing else comes: each reply waits for those a few before it."""
    rows = Rows()

    class Waits(ScriptedChatModel):
        async def generate(self, requests, cancel=None):
            number = int(requests[0].messages[-1].content[1:])
            async with asyncio.timeout(60):
                while len(rows.ended) < number - 6:
                    await asyncio.sleep(0.001)
            async for each in super().generate(requests, cancel):
                yield each

    start(rows.commit, [Asking("T", Waits("m", answer), units("T", 40), workers=4)])
    assert len(rows.texts) == len(rows.ended) == 40
    assert len(rows.groups) >= 40 / 10


def test_cancel_is_quick_and_keeps_what_arrived() -> None:
    cancel = CancelToken()
    rows = Rows()

    def reply(request) -> str:
        if request.messages[-1].content == "Q20":
            cancel.cancel()
        return "x"

    slow = ScriptedChatModel("m", reply, delay_s=0.005)
    never = ScriptedChatModel("n", {}, delay_s=60)
    asking = [Asking("T", slow, units("T", 10_000), 2), Asking("N", never, units("N", 5), 5)]
    started = time.monotonic()
    with pytest.raises(Cancelled):
        start(rows.commit, asking, cancel)
    assert time.monotonic() - started < 30  # one of them would take a minute
    assert 20 <= len(rows.texts) < 200
    assert not rows.failed


def test_a_teacher_that_refuses_the_key_is_asked_no_further_and_the_other_goes_on() -> None:
    bad, good = ScriptedChatModel("b", {}), ScriptedChatModel("g", answer)
    bad.fail_next(TeacherUnauthorised("Refused the key."), times=1000)
    rows = Rows()
    asking = [Asking("B", bad, units("B", 100), 3), Asking("G", good, units("G", 50), 3)]
    with pytest.raises(TeacherError, match="Stopped: Refused the key"):
        start(rows.commit, asking)
    assert bad.calls <= 6
    assert len(rows.texts) == 50
    assert len(rows.failed) == bad.calls


def test_failures_in_a_row_stop_a_line_but_scattered_ones_do_not() -> None:
    broken = ScriptedChatModel("b", {})  # every request fails
    with pytest.raises(TeacherError, match="The script has no answer"):
        run([Asking("B", broken, units("B", 100), workers=2)])
    assert broken.calls <= 8

    flaky = ScriptedChatModel("f", {f"Q{i}": "x" for i in range(100) if i % 3})
    rows = run([Asking("F", flaky, units("F", 100), workers=2)])
    assert len(rows.ended) == 100
    assert len(rows.failed) == 34


def test_long_prompts_are_no_reason_to_stop() -> None:
    class TooLong(ScriptedChatModel):
        async def generate(self, requests, cancel=None):
            for request in requests:
                yield ChatReply(key=request.key, error_code="context_too_long", error="long")

    rows = run([Asking("T", TooLong("m", {}), units("T", 50), workers=2)])
    assert [dropped.code for dropped in rows.failed] == ["context_too_long"] * 50


def test_a_commit_that_fails_ends_the_run() -> None:
    def commit(group: Sequence[Outcome]) -> None:
        raise OSError("disk full")

    model = ScriptedChatModel("m", answer)
    with pytest.raises(OSError, match="disk full"):
        start(commit, [Asking("T", model, units("T", 10))])


def test_meter_counts_the_last_seconds() -> None:
    now = [100.0]
    meter = Meter(lambda: now[0])
    assert meter.eta_s(10) is None
    now[0] = 110.0
    meter.add(20, 400)
    assert meter.rates() == (2.0, 40.0)
    assert meter.eta_s(10) == 5.0
    now[0] = 140.0
    assert meter.rates() == (0.0, 0.0)
    assert [in_words(s) for s in (0.2, 40, 200, 7500)] == ["1 s", "40 s", "3 min", "2 h 5 min"]
