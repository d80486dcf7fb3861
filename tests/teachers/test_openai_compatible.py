"""Against a real HTTP server: each way to fail has its error, its hint, and no key in it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from distill_studio.core.errors import (
    Cancelled,
    TeacherError,
    TeacherMalformedReply,
    TeacherUnreachable,
)
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message, TeacherConfig, TeacherKind
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from distill_studio.teachers.openai_errors import retry_after_s
from tests.stub_openai import Answer, StubServer, completion, failure

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


def teacher(url: str, **fields) -> TeacherConfig:
    defaults = {"timeout_s": 60.0, "max_retries": 0, "concurrency": 4}
    return TeacherConfig(
        name="Stub", kind=TeacherKind.OPENAI, model="stub-1", base_url=url, **defaults | fields
    )


def request(text: str = "Hello", key: str = "k", **sampling) -> ChatRequest:
    return ChatRequest(
        key=key,
        messages=(Message(role="user", content=text),),
        sampling=SamplingParams(**sampling),
    )


def generate(
    model: OpenAIChatModel, requests, cancel: CancelToken | None = None
) -> list[ChatReply]:
    async def collect() -> list[ChatReply]:
        try:
            return [reply async for reply in model.generate(requests, cancel)]
        finally:
            await model.aclose()

    return asyncio.run(collect())


def one(model: OpenAIChatModel, asked: ChatRequest | None = None) -> ChatReply:
    (reply,) = generate(model, [asked or request()])
    return reply


def test_answers_with_counts_and_sends_what_was_asked(stub: StubServer) -> None:
    model = OpenAIChatModel(teacher(stub.url), KEY)
    assert isinstance(model, ChatModel)
    reply = one(model, request("Hi", temperature=0.3, max_tokens=9, seed=7, stop=("END",)))
    assert (reply.text, reply.model, reply.finish_reason) == ("Answer to: Hi", "stub-1", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (5, 3)
    assert stub.requests[0] == {
        "model": "stub-1",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.3,
        "top_p": 0.95,
        "max_tokens": 9,
        "seed": 7,
        "stop": ["END"],
    }
    assert stub.headers[0]["authorization"] == f"Bearer {KEY}"


def test_sends_no_key_of_the_environment(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    assert one(OpenAIChatModel(teacher(stub.url))).is_ok
    sent = set(stub.headers[0])
    assert not sent & {"authorization", "openai-organization", "openai-project"}


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (failure(401, f"Incorrect API key provided: {KEY}"), "unauthorised", "refused the key"),
        (failure(403, "forbidden"), "unauthorised", "refused the key"),
        (failure(404, "The model `stub-1` does not exist"), "unknown_model", "does not serve"),
        (Answer(b"<html>404</html>", 404), "unknown_model", "There is no chat API"),
        (failure(400, "This model's maximum context length is 10"), "context_too_long", "too long"),
        (failure(400, "no", code="context_length_exceeded"), "context_too_long", "too long"),
        (failure(400, f"bad top_p, key {KEY}"), "teacher_error", "bad top_p"),
        (failure(429, "slow down"), "rate_limited", "slow down"),
        (failure(429, "quota", code="insufficient_quota"), "rate_limited", "quota"),
        (failure(500, "CUDA out of memory"), "unreachable", "CUDA out of memory"),
        (Answer({"detail": "Loading"}, 503), "unreachable", "Loading"),
        (Answer({}, 302, {"Location": "http://elsewhere/v1"}), "teacher_error", "another address"),
        (Answer(b"{not json"), "malformed_reply", "not JSON"),
        (
            Answer(b"<html>hello</html>", headers={"Content-Type": "text/html"}),
            "malformed_reply",
            "hello",
        ),
        (Answer(b""), "malformed_reply", "(nothing)"),
        (Answer({"choices": []}), "malformed_reply", "no chat completion"),
        (Answer({"choices": [{"message": {"content": ["x"]}}]}), "malformed_reply", "no chat"),
        (Answer([1, 2]), "malformed_reply", "no chat completion"),
        (Answer(completion("x"), hangs_up=True), "unreachable", "cannot be reached"),
        (Answer(completion("late"), delay_s=60), "unreachable", "within 0.3 s"),
    ],
)
def test_each_failure_has_its_code_and_words(
    stub: StubServer, answer: Answer, code: str, said: str
) -> None:
    stub.behave = lambda body: answer
    timeout_s = 0.3 if answer.delay_s else 60.0
    reply = one(OpenAIChatModel(teacher(stub.url, timeout_s=timeout_s), KEY))
    assert (reply.error_code, reply.text) == (code, "")
    assert said in reply.error
    assert KEY not in reply.error
    assert "secret" not in reply.error


def test_refused_connection_and_unknown_host() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    reply = one(OpenAIChatModel(teacher(f"http://127.0.0.1:{port}/v1")))
    assert reply.error_code == "unreachable"
    assert f":{port}" in reply.error
    assert "server runs" in reply.error
    reply = one(OpenAIChatModel(teacher("http://no-such-host.invalid/v1")))
    assert reply.error_code == "unreachable"


def test_tries_again_what_may_pass(stub: StubServer) -> None:
    answers = [failure(500, "x"), Answer(b"{"), failure(429, "x"), Answer(completion("At last"))]
    stub.behave = lambda body: answers.pop(0)
    reply = one(OpenAIChatModel(teacher(stub.url, max_retries=3)))
    assert (reply.text, len(stub.requests)) == ("At last", 4)


@pytest.mark.parametrize(
    "answer", [failure(401, "x"), failure(429, "x", code="insufficient_quota")]
)
def test_does_not_try_again_what_will_not_pass(stub: StubServer, answer: Answer) -> None:
    stub.behave = lambda body: answer
    assert not one(OpenAIChatModel(teacher(stub.url, max_retries=3))).is_ok
    assert len(stub.requests) == 1


def test_retry_after_holds_back_every_request(stub: StubServer) -> None:
    times: list[float] = []

    def behave(body: dict) -> Answer:
        times.append(time.monotonic())
        if len(times) == 1:
            answer = failure(429, "slow down")
            answer.headers["Retry-After"] = "1"
            return answer
        return Answer(completion("ok"))

    stub.behave = behave
    model = OpenAIChatModel(teacher(stub.url, max_retries=1, concurrency=1))
    replies = generate(model, [request(key=str(i)) for i in range(3)])
    assert all(r.is_ok for r in replies)
    assert len(times) == 4
    assert times[1] - times[0] >= 0.95


def test_retry_after_reads_seconds_and_dates() -> None:
    now = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
    assert retry_after_s({"retry-after": "2.5"}, now) == 2.5
    assert retry_after_s({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, now) == 30
    assert retry_after_s({"retry-after-ms": "1500"}, now) == 1.5
    assert retry_after_s({"retry-after": "soon"}, now) is None
    assert retry_after_s({}, now) is None


def test_bounded_in_flight_and_lazy(stub: StubServer) -> None:
    is_full = threading.Event()

    def behave(body: dict) -> Answer:
        if stub.in_flight == 4:
            is_full.set()
        is_full.wait(60)
        return Answer(completion("ok"), delay_s=0.02)

    stub.behave = behave
    pulled = 0
    furthest_ahead = 0

    def requests() -> Iterator[ChatRequest]:
        nonlocal pulled
        for i in range(60):
            pulled += 1
            yield request(key=str(i))

    async def run() -> set[str]:
        nonlocal furthest_ahead
        keys = set()
        model = OpenAIChatModel(teacher(stub.url))
        async for reply in model.generate(requests()):
            keys.add(reply.key)
            furthest_ahead = max(furthest_ahead, pulled - len(keys))
        await model.aclose()
        return keys

    assert asyncio.run(run()) == {str(i) for i in range(60)}
    assert stub.most_in_flight == 4
    assert furthest_ahead <= 4


def test_cancel_ends_open_requests_at_once(stub: StubServer) -> None:
    stub.behave = lambda body: Answer(completion("late"), delay_s=15)
    cancel = CancelToken()
    cancel.cancel()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        generate(OpenAIChatModel(teacher(stub.url)), [request()], cancel)
    assert time.monotonic() - started < 12


@pytest.mark.parametrize(
    ("message", "reasoning", "text"),
    [
        (completion("4", reasoning_content="2+2"), "2+2", "4"),
        (completion("<think>\n2+2\n</think>\n\n4"), "2+2", "4"),
        (completion("2+2\n</think>\n\n4"), "2+2", "4"),
        (completion("<think>never ends"), "never ends", ""),
        (
            completion("The tag `</think>` ends a thought."),
            "",
            "The tag `</think>` ends a thought.",
        ),
    ],
)
def test_reasoning_is_kept_apart(
    stub: StubServer, message: dict, reasoning: str, text: str
) -> None:
    stub.behave = lambda body: Answer(message)
    reply = one(OpenAIChatModel(teacher(stub.url)))
    assert (reply.reasoning, reply.text) == (reasoning, text)


def test_adapts_to_models_that_refuse_a_parameter(stub: StubServer) -> None:
    def behave(body: dict) -> Answer:
        if "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return failure(400, said, code="unsupported_parameter", param="max_tokens")
        if "temperature" in body:
            said = "Unsupported value: 'temperature' does not support 0.7 with this model."
            return failure(400, said, code="unsupported_value", param="temperature")
        return Answer(completion("ok"))

    stub.behave = behave
    model = OpenAIChatModel(teacher(stub.url))
    first, second = one(model), one(model)
    assert first.is_ok
    assert second.is_ok
    assert stub.requests[-1]["max_completion_tokens"] == 256
    assert second.extra == {"left_out": ["max_tokens", "temperature"]}
    assert len(stub.requests) == 4


def test_lists_models(stub: StubServer) -> None:
    model = OpenAIChatModel(teacher(stub.url))
    assert asyncio.run(model.list_models()) == ["stub-1", "stub-2"]
    elsewhere = OpenAIChatModel(teacher(stub.url.replace("/v1", "/v2")))
    with pytest.raises(TeacherError, match="no chat API"):
        asyncio.run(elsewhere.list_models())


def _stream(model: OpenAIChatModel) -> list[str]:
    async def collect() -> list[str]:
        return [piece async for piece in model.stream(request())]

    return asyncio.run(collect())


def test_streams_pieces_and_says_how_it_fails(stub: StubServer) -> None:
    chunk = (
        'data: {"id":"x","object":"chat.completion.chunk","created":0,"model":"m","choices":[%s]}'
    )
    lines = [
        chunk % '{"index":0,"delta":{"role":"assistant"}}',
        chunk % '{"index":0,"delta":{"content":"Par"}}',
        chunk % '{"index":0,"delta":{"content":"is"},"finish_reason":"stop"}',
        chunk % "",
        "data: [DONE]",
    ]
    event_stream = {"Content-Type": "text/event-stream"}
    stub.behave = lambda body: Answer("\n\n".join([*lines, ""]).encode(), headers=event_stream)
    assert _stream(OpenAIChatModel(teacher(stub.url))) == ["Par", "is"]
    assert stub.requests[-1]["stream"] is True
    stub.behave = lambda body: Answer(b"data: {broken\n\n", headers=event_stream)
    with pytest.raises(TeacherMalformedReply):
        _stream(OpenAIChatModel(teacher(stub.url)))
    stub.behave = lambda body: failure(500, "x")
    with pytest.raises(TeacherUnreachable):
        _stream(OpenAIChatModel(teacher(stub.url)))


_CHUNK = '{"id":"x","object":"chat.completion.chunk","created":0,"model":"m","choices":[%s]%s}'
_COUNTED = [
    _CHUNK % ('{"index":0,"delta":{"content":"Paris"}}', ""),
    _CHUNK % ("", ',"usage":{"total_tokens":null}'),  # no count
    _CHUNK % ("", ',"usage":{"prompt_tokens":11,"completion_tokens":70,"total_tokens":81}'),
    "[DONE]",
]


def _counted(model: OpenAIChatModel) -> tuple[list[str], list[tuple[int | None, int | None]]]:
    told: list[ChatReply] = []

    async def collect() -> list[str]:
        pieces = model.stream_counted(request(), None, told.append)
        return [piece async for piece in pieces]

    text = asyncio.run(collect())
    return text, [(reply.prompt_tokens, reply.completion_tokens) for reply in told]


def test_a_stream_tells_what_the_server_counted(stub: StubServer) -> None:
    events = "".join(f"data: {data}\n\n" for data in _COUNTED).encode()
    stub.behave = lambda body: Answer(events, headers={"Content-Type": "text/event-stream"})
    assert _counted(OpenAIChatModel(teacher(stub.url))) == (["Paris"], [(11, 70)])
    assert stub.requests[-1]["stream_options"] == {"include_usage": True}


def test_a_stream_adapts_to_what_a_model_refuses(stub: StubServer) -> None:
    events = "".join(f"data: {data}\n\n" for data in (_COUNTED[0], "[DONE]")).encode()

    def behave(body: dict) -> Answer:
        if "stream_options" in body:
            return failure(422, "Extra inputs are not permitted: body.stream_options")
        if "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return failure(400, said, code="unsupported_parameter", param="max_tokens")
        return Answer(events, headers={"Content-Type": "text/event-stream"})

    stub.behave = behave
    model = OpenAIChatModel(teacher(stub.url))
    assert _counted(model) == (["Paris"], [(None, None)])
    assert _counted(model) == (["Paris"], [(None, None)])
    assert len(stub.requests) == 4  # what was refused once is not sent again
