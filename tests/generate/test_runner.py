import asyncio
import time
from collections.abc import Iterator, Sequence

import pytest

from distill_studio.core.errors import Cancelled, TeacherError, TeacherUnauthorised
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatReply, SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.generate.meter import Meter, in_words
from distill_studio.generate.recipes import RECIPES, Ask
from distill_studio.generate.runner import Line, Outcome, Runner
from distill_studio.teachers.scripted import ScriptedChatModel


def asks(count: int, pulled: list[int] | None = None) -> Iterator[Ask]:
    for i in range(count):
        if pulled is not None:
            pulled[0] += 1
        seed = Seed(messages=(Message(role="user", content=f"Q{i}"),))
        yield from RECIPES["direct"].requests_for(seed, 0, SamplingParams(), "")


def answer(request) -> str:
    return f"A to {request.messages[-1].content}"


class Rows:
    """Takes commits and remembers when each came."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.groups: list[int] = []

    def commit(self, group: Sequence[Outcome]) -> None:
        self.outcomes += group
        self.groups.append(len(group))


def run(lines: list[Line], cancel: CancelToken | None = None) -> Rows:
    rows = Rows()
    asyncio.run(Runner(rows.commit, cancel or CancelToken()).run(lines))
    return rows


def test_everything_is_answered_once_and_pulled_only_when_there_is_room() -> None:
    pulled, answered, furthest = [0], [0], [0]

    def reply(request) -> str:
        furthest[0] = max(furthest[0], pulled[0] - answered[0])
        answered[0] += 1
        return answer(request)

    rows = run([Line("T", ScriptedChatModel("m", reply), asks(2000, pulled), workers=8)])
    prompts = [o.ask.seed.prompt for o in rows.outcomes]
    assert sorted(prompts) == sorted(f"Q{i}" for i in range(2000))
    assert all(o.reply.text == f"A to {o.ask.seed.prompt}" for o in rows.outcomes)
    assert furthest[0] <= 8 + 1
    assert max(rows.groups) <= 200


def test_replies_are_committed_soon_after_they_arrive() -> None:
    arrived: list[float] = []
    waits: list[float] = []

    def reply(request) -> str:
        arrived.append(time.monotonic())
        return "x"

    def commit(group: Sequence[Outcome]) -> None:
        now = time.monotonic()
        waits.extend(now - arrived.pop(0) for _ in group)

    model = ScriptedChatModel("m", reply, delay_s=0.01)
    asyncio.run(Runner(commit, CancelToken()).run([Line("T", model, asks(100), workers=4)]))
    assert len(waits) == 100
    assert sorted(waits)[len(waits) // 2] < 0.05


def test_cancel_is_quick_and_keeps_what_arrived() -> None:
    cancel = CancelToken()
    rows = Rows()

    def reply(request) -> str:
        if request.messages[-1].content == "Q20":
            cancel.cancel()
        return "x"

    slow = ScriptedChatModel("m", reply, delay_s=0.005)
    never = ScriptedChatModel("n", {}, delay_s=60)
    lines = [Line("T", slow, asks(10_000), workers=2), Line("N", never, asks(5), workers=5)]
    started = time.monotonic()
    with pytest.raises(Cancelled):
        asyncio.run(Runner(rows.commit, cancel).run(lines))
    assert time.monotonic() - started < 5
    assert 20 <= len(rows.outcomes) < 200
    assert all(o.reply.is_ok for o in rows.outcomes)


def test_a_teacher_that_refuses_the_key_is_asked_no_further_and_the_other_goes_on() -> None:
    bad, good = ScriptedChatModel("b", {}), ScriptedChatModel("g", answer)
    bad.fail_next(TeacherUnauthorised("Refused the key."), times=1000)
    rows = Rows()
    lines = [Line("B", bad, asks(100), workers=3), Line("G", good, asks(50), workers=3)]
    with pytest.raises(TeacherError, match="Stopped: Refused the key"):
        asyncio.run(Runner(rows.commit, CancelToken()).run(lines))
    assert bad.calls <= 6
    assert sum(o.reply.is_ok for o in rows.outcomes) == 50
    assert sum(not o.reply.is_ok for o in rows.outcomes) == bad.calls


def test_failures_in_a_row_stop_a_line_but_scattered_ones_do_not() -> None:
    broken = ScriptedChatModel("b", {})  # every request fails
    with pytest.raises(TeacherError, match="The script has no answer"):
        run([Line("B", broken, asks(100), workers=2)])
    assert broken.calls <= 8

    flaky = ScriptedChatModel("f", {f"Q{i}": "x" for i in range(100) if i % 3})
    rows = run([Line("F", flaky, asks(100), workers=2)])
    assert len(rows.outcomes) == 100
    assert sum(not o.reply.is_ok for o in rows.outcomes) == 34


def test_long_prompts_are_no_reason_to_stop() -> None:
    class TooLong(ScriptedChatModel):
        async def generate(self, requests, cancel=None):
            for request in requests:
                yield ChatReply(key=request.key, error_code="context_too_long", error="long")

    rows = run([Line("T", TooLong("m", {}), asks(50), workers=2)])
    assert len(rows.outcomes) == 50


def test_a_commit_that_fails_ends_the_run() -> None:
    def commit(group: Sequence[Outcome]) -> None:
        raise OSError("disk full")

    model = ScriptedChatModel("m", answer)
    with pytest.raises(OSError, match="disk full"):
        asyncio.run(Runner(commit, CancelToken()).run([Line("T", model, asks(10))]))


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
