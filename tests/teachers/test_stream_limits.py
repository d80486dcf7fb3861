"""A streamed answer keeps a teacher's pace and spend limit, also when it is broken off."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from distill_studio.core.errors import Cancelled, TeacherError, TeacherSpendLimit
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message
from distill_studio.teachers import openai_compatible
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from distill_studio.teachers.rate_limit import RateLimit
from tests.stub_openai import Answer, StubServer, failure
from tests.teachers.test_limits import Clock, ask, teacher

REQUEST = ChatRequest(
    key="k",
    messages=(Message(role="user", content="x" * 40),),
    sampling=SamplingParams(max_tokens=100),
)
PRICES = {"price_in": 10.0, "price_out": 100.0}


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list:
    """The clients that streams open."""
    made, real = [], openai_compatible.new_client

    def remember(*args: object, **options: object) -> object:
        made.append(real(*args, **options))
        return made[-1]

    monkeypatch.setattr(openai_compatible, "new_client", remember)
    return made


def streamed(model: OpenAIChatModel, most: int = 1000, cancel: CancelToken | None = None) -> tuple:
    """The pieces read, at most so many, and what was heard of it."""
    heard: list[ChatReply] = []

    async def read() -> list[str]:
        pieces: list[str] = []
        async with aclosing(model.stream_counted(REQUEST, cancel, heard.append)) as stream:
            async for piece in stream:
                pieces.append(piece)
                if len(pieces) == most:
                    break
        return pieces

    return asyncio.run(read()), heard


def test_halves_of_a_character_in_two_chunks_are_joined(stub: StubServer) -> None:
    stub.behave = lambda body: Answer(pieces=("ok \ud83d", "\ude00", " cut \ud83d"))
    pieces, (reply,) = streamed(OpenAIChatModel(teacher(stub.url)))
    assert pieces == ["ok ", "\U0001f600", " cut ", "\ufffd"]
    assert reply.text == "".join(pieces)


def test_streams_and_whole_answers_share_one_pace(stub: StubServer) -> None:
    times: list[float] = []

    def behave(body: dict) -> Answer:
        times.append(time.monotonic())
        if body.get("stream"):
            return Answer(pieces=("ok",))
        return Answer({"choices": [{"message": {"content": "ok"}}]})

    stub.behave = behave
    shared = RateLimit(600, 0)
    config = teacher(stub.url, requests_per_min=600)
    began = time.monotonic()
    ask(OpenAIChatModel(config, limit=shared), 3)
    for _ in range(5):
        streamed(OpenAIChatModel(config, limit=shared))
    assert len(times) == 8
    assert max(times) - began >= 0.69, "eight starts, a tenth of a second apart"


def test_tokens_of_a_stream_count_for_the_pace_as_far_as_it_came(stub: StubServer) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 90}
    stub.behave = lambda body: Answer(pieces=("one", "two"), usage=usage)
    limit = RateLimit(0, 600, Clock())  # ten tokens a second
    streamed(OpenAIChatModel(teacher(stub.url, tokens_per_min=600), limit=limit))
    assert limit.reserve(1) == pytest.approx(10), "10 read and 90 written"
    stub.behave = lambda body: Answer(pieces=("w" * 40, "later"), pause_s=30)
    limit = RateLimit(0, 600, Clock())
    streamed(OpenAIChatModel(teacher(stub.url, tokens_per_min=600), limit=limit), most=1)
    assert limit.reserve(1) == pytest.approx(2), "10 read, 10 written before it was left"


def test_a_stream_costs_what_the_server_counted(stub: StubServer) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 50}
    stub.behave = lambda body: Answer(pieces=("one ", "two"), usage=usage)
    model = OpenAIChatModel(teacher(stub.url, **PRICES))
    pieces, (heard,) = streamed(model)
    assert pieces == ["one ", "two"]
    assert stub.requests[-1]["stream_options"] == {"include_usage": True}
    assert (heard.text, heard.prompt_tokens, heard.completion_tokens) == ("one two", 7, 50)
    assert model.spending.spent_usd == pytest.approx((7 * 10 + 50 * 100) / 1e6)


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_stream_that_is_broken_off_costs_what_was_written(
    stub: StubServer, clients: list, is_stopped: bool
) -> None:
    stub.behave = lambda body: Answer(pieces=("w" * 400, "w" * 400, "late"), pause_s=0.05)
    model = OpenAIChatModel(teacher(stub.url, spend_limit_usd=1.0, **PRICES))
    if is_stopped:
        cancel = CancelToken()
        heard: list[ChatReply] = []

        async def read() -> None:
            async for _ in model.stream_counted(REQUEST, cancel, heard.append):
                cancel.cancel()

        with pytest.raises(Cancelled):
            asyncio.run(read())
    else:
        _, heard = streamed(model, most=1)
    assert model.spending.spent_usd == pytest.approx((10 * 10 + 100 * 100) / 1e6)
    assert [(r.text, r.prompt_tokens, r.is_ok) for r in heard] == [("w" * 400, None, True)]
    assert [client.is_closed() for client in clients] == [True]


def test_nothing_is_streamed_beyond_the_limit_and_it_is_said_why(stub: StubServer) -> None:
    config = teacher(stub.url, spend_limit_usd=0.05, **PRICES)
    model = OpenAIChatModel(config, spent_usd=0.06)
    with pytest.raises(TeacherSpendLimit, match=r"has cost 0\.0600 USD in this job.* 0\.05 USD"):
        streamed(model)
    assert stub.requests == []


def test_a_failed_stream_is_heard_of_and_leaves_no_client(stub: StubServer, clients: list) -> None:
    stub.behave = lambda body: failure(500, "out of order")
    model = OpenAIChatModel(teacher(stub.url, spend_limit_usd=1.0, **PRICES))
    heard: list[ChatReply] = []

    async def read() -> None:
        async for _ in model.stream_counted(REQUEST, None, heard.append):
            pass

    with pytest.raises(TeacherError, match="out of order"):
        asyncio.run(read())
    assert [reply.error_code for reply in heard] == ["unreachable"]
    assert model.spending.spent_usd == 0

    async def leave() -> None:
        task = asyncio.create_task(read())
        while not stub.in_flight:  # asked, and nothing has come
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    heard.clear()
    stub.behave = lambda body: Answer(pieces=("late",), delay_s=30)
    asyncio.run(leave())
    assert heard == [], "stopped before the server began to answer"
    assert [client.is_closed() for client in clients] == [True, True]


def test_a_server_that_refuses_an_extra_is_asked_without_it(stub: StubServer) -> None:
    def picky(body: dict) -> Answer:
        if "stream_options" in body:
            return failure(400, "Unrecognized request argument supplied: stream_options")
        return Answer(pieces=("yes",))

    stub.behave = picky
    model = OpenAIChatModel(teacher(stub.url))
    assert streamed(model)[0] == ["yes"]
    assert streamed(model)[0] == ["yes"]
    assert ["stream_options" in body for body in stub.requests] == [True, False, False]
