"""The scripted model keeps the contract of ChatModel."""

import asyncio

from distill_studio.core.errors import TeacherRateLimited
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatModel, ChatRequest
from distill_studio.core.records.seed import Message
from distill_studio.teachers.scripted import ScriptedChatModel


def request(key: str, text: str) -> ChatRequest:
    return ChatRequest(key=key, messages=(Message(role="user", content=text),))


async def collect(stream):
    return [item async for item in stream]


def test_answers_counts_and_fails_on_demand():
    model = ScriptedChatModel("script", {"a": "one two", "b": "three"})
    assert isinstance(model, ChatModel)
    model.fail_next(TeacherRateLimited("slow down"))
    replies = asyncio.run(collect(model.generate([request("1", "a"), request("2", "b")])))
    assert [(r.key, r.text, r.error_code) for r in replies] == [
        ("1", "", "rate_limited"),
        ("2", "three", ""),
    ]
    assert model.calls == 2
    unknown = asyncio.run(collect(model.generate([request("3", "?")])))
    assert unknown[0].error_code == "teacher_error"


def test_streams_the_same_text_and_stops_when_cancelled():
    model = ScriptedChatModel("script", lambda r: f"you said {r.messages[-1].content}")
    assert "".join(asyncio.run(collect(model.stream(request("1", "hi there"))))) == (
        "you said hi there"
    )
    cancel = CancelToken()
    cancel.cancel()
    assert asyncio.run(collect(model.stream(request("1", "hi"), cancel))) == []
    assert asyncio.run(collect(model.generate([request("1", "hi")], cancel))) == []
