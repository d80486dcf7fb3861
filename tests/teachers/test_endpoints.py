"""Several URLs of one teacher: shared out, left out while they fail, and no key elsewhere."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from distill_studio.core.errors import (
    TeacherContextTooLong,
    TeacherRateLimited,
    TeacherUnreachable,
)
from distill_studio.core.protocols import ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message, TeacherConfig, TeacherKind
from distill_studio.teachers.endpoints import Endpoints, new_client
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from tests.stub_openai import Answer, StubServer, completion, failure

KEY = "sk-very-secret-0123456789"
NOBODY = "http://127.0.0.1:9/v1"


@pytest.fixture
def stubs() -> Iterator[list[StubServer]]:
    servers = [StubServer(), StubServer()]
    yield servers
    for server in servers:
        server.close()


def teacher(*urls: str, **fields) -> TeacherConfig:
    defaults = {"timeout_s": 60.0, "max_retries": 0, "concurrency": 8}
    return TeacherConfig(
        name="Many", kind=TeacherKind.OPENAI, model="stub-1", base_url=urls[0],
        base_urls=urls[1:], **defaults | fields,
    )  # fmt: skip


def requests(count: int) -> list[ChatRequest]:
    return [
        ChatRequest(
            key=str(n),
            messages=(Message(role="user", content=f"Q{n}"),),
            sampling=SamplingParams(max_tokens=8),
        )
        for n in range(count)
    ]


def ask(model: OpenAIChatModel, count: int) -> list[ChatReply]:
    async def collect() -> list[ChatReply]:
        try:
            return [reply async for reply in model.generate(requests(count))]
        finally:
            await model.aclose()

    return asyncio.run(collect())


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_requests_are_shared_out(stubs: list[StubServer]) -> None:
    together = threading.Barrier(8, timeout=60)  # those in flight: neither server is the quicker

    def behave(body: dict) -> Answer:
        together.wait()
        return Answer(completion("ok"))

    for stub in stubs:
        stub.behave = behave
    replies = ask(OpenAIChatModel(teacher(*(s.url for s in stubs)), KEY), 40)
    assert all(reply.is_ok for reply in replies)
    counts = [len(stub.requests) for stub in stubs]
    assert sum(counts) == 40
    assert min(counts) >= 14
    assert all(stub.most_in_flight <= 5 for stub in stubs), "8 in flight, half of them each"
    sent = {headers["authorization"] for stub in stubs for headers in stub.headers}
    assert sent == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "broken",
    [
        failure(500, "CUDA error"),
        failure(503, "loading"),
        failure(404, "The model stub-1 does not exist"),
        failure(401, "who are you"),
        Answer(b"<html>", headers={"Content-Type": "text/html"}),
        Answer(completion("x"), hangs_up=True),
    ],
)
def test_a_failing_url_costs_no_request(stubs: list[StubServer], broken: Answer) -> None:
    stubs[0].behave = lambda body: broken
    replies = ask(OpenAIChatModel(teacher(*(s.url for s in stubs))), 30)
    assert [r.error for r in replies if not r.is_ok] == []
    assert len(replies) == 30
    # It is asked by those in flight when it first fails, and then left out.
    assert len(stubs[0].requests) <= 8


def test_an_unreachable_url_and_a_stalling_one(stubs: list[StubServer]) -> None:
    stubs[0].behave = lambda body: Answer(completion("late"), delay_s=30)
    began = time.monotonic()
    urls = (NOBODY, stubs[0].url, stubs[1].url)
    replies = ask(OpenAIChatModel(teacher(*urls, timeout_s=3)), 30)
    assert all(reply.is_ok for reply in replies)
    assert time.monotonic() - began < 25  # nobody waited for the one that stalls


def test_a_request_fails_only_when_no_url_serves_it(stubs: list[StubServer]) -> None:
    for stub in stubs:
        stub.behave = lambda body: failure(500, "down")
    model = OpenAIChatModel(teacher(*(s.url for s in stubs)))
    assert {r.error_code for r in ask(model, 2)} == {"unreachable"}
    stubs[0].behave = lambda body: Answer(completion("back"))
    # Both rest now, yet the request gets its chance at either.
    assert [r.text for r in ask(model, 1)] == ["back"]


def test_the_requests_own_fault_is_told_at_once(stubs: list[StubServer]) -> None:
    for stub in stubs:
        stub.behave = lambda body: failure(400, "maximum context length is 10")
    replies = ask(OpenAIChatModel(teacher(*(s.url for s in stubs))), 1)
    assert replies[0].error_code == "context_too_long"
    assert sum(len(stub.requests) for stub in stubs) == 1


def test_a_stream_begins_at_the_url_that_answers(
    stubs: list[StubServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill_studio.teachers.endpoints._FIRST_PAUSE_S", 60.0)
    stubs[0].behave = lambda body: failure(500, "down")
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    piece = chunk | {"choices": [{"index": 0, "delta": {"content": "Paris"}}]}
    events = f"data: {json.dumps(piece)}\n\ndata: [DONE]\n\n".encode()
    stubs[1].behave = lambda body: Answer(events, headers={"Content-Type": "text/event-stream"})
    model = OpenAIChatModel(teacher(*(s.url for s in stubs)))

    async def collect() -> list[str]:
        return [piece async for piece in model.stream(requests(1)[0])]

    assert asyncio.run(collect()) == ["Paris"]
    assert asyncio.run(collect()) == ["Paris"]
    assert len(stubs[0].requests) == 1, "left out the second time"


def test_pauses_grow_and_one_request_tries_again() -> None:
    clock = Clock()
    first, second = Endpoints(teacher("http://a/v1", "http://b/v1"), clock).every
    assert first.note_failure(TeacherUnreachable("x"))
    for pause_s in (1, 2, 4, 8, 16, 32, 60, 60):
        for _ in range(50):  # those in flight with it fall too: one failure, not fifty
            first.note_failure(TeacherUnreachable("x"))
        clock.now += pause_s - 0.01
        assert not first.is_ready
        clock.now += 0.02
        assert first.is_ready
        first.in_flight = 1
        assert not first.is_ready, "a second request does not try it"
        first.in_flight = 0
        first.note_failure(TeacherUnreachable("x"))
    first.note_answer()
    assert first.is_ready
    first.in_flight = 5
    assert first.is_ready
    assert not first.note_failure(TeacherContextTooLong("x"))
    assert second.is_ready


def test_a_rate_limited_url_rests_as_long_as_it_asked() -> None:
    clock = Clock()
    endpoints = Endpoints(teacher("http://a/v1", "http://b/v1"), clock)
    first, second = endpoints.every
    limited = TeacherRateLimited("x", retry_after_s=7)
    assert first.note_failure(limited)
    assert endpoints.next_after(()) is second
    assert second.note_failure(limited)
    # Asked to come later by one: the other, which rests too, is not pressed.
    assert endpoints.next_after([first], limited) is None
    clock.now += 7.1
    assert endpoints.next_after([first], limited) is second


def test_one_tls_context_for_all_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the certificates takes far longer than the rest of a client."""
    made, real = [], ssl.SSLContext.__new__

    def new(cls: type, *args: object, **options: object) -> ssl.SSLContext:
        made.append(cls)
        return real(cls, *args, **options)

    config = teacher("https://a.example/v1")
    new_client(config, KEY)
    monkeypatch.setattr(ssl.SSLContext, "__new__", new)
    for _ in range(8):
        new_client(config, KEY, 16)
    assert made == []
    httpx2.create_ssl_context()
    assert made, "it would be seen"


def test_an_old_configuration_still_loads() -> None:
    old = {"name": "Old", "kind": "openai", "model": "m", "base_url": "http://a/v1"}
    config = TeacherConfig(**old)
    assert config.urls == ("http://a/v1",)
    twice = TeacherConfig(**old | {"base_urls": ["http://a/v1", "http://b/v1"]})
    assert twice.urls == ("http://a/v1", "http://b/v1")
