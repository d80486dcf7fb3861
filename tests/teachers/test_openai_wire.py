"""Raw text, schemas and log-probabilities on their way to a server and back."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from distill_studio.core.protocols import ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message, TeacherConfig, TeacherKind
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from distill_studio.teachers.openai_wire import reply_from
from tests.stub_openai import Answer, StubServer, completion, continuation, failure

SCHEMA = {"title": "A task!", "type": "object", "properties": {"q": {"type": "string"}}}


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


def model_at(stub: StubServer, **fields: Any) -> OpenAIChatModel:
    defaults = {"timeout_s": 60.0, "max_retries": 0, "concurrency": 4}
    return OpenAIChatModel(
        TeacherConfig(
            name="Stub", kind=TeacherKind.OPENAI, model="stub-1", base_url=stub.url,
            **defaults | fields,
        )
    )  # fmt: skip


def request(raw: str = "", schema: dict | None = None, **sampling: Any) -> ChatRequest:
    messages = () if raw else (Message(role="user", content="Hello"),)
    return ChatRequest(
        key="k", raw=raw, messages=messages, response_schema=schema,
        sampling=SamplingParams(**sampling),
    )  # fmt: skip


def ask(model: OpenAIChatModel, *requests: ChatRequest) -> list[ChatReply]:
    async def collect() -> list[ChatReply]:
        try:
            return [reply async for reply in model.generate(requests)]
        finally:
            await model.aclose()

    return asyncio.run(collect())


# -- raw text -----------------------------------------------------------------------------


def test_raw_text_goes_to_completions_as_it_stands(stub: StubServer) -> None:
    stub.behave = lambda body: Answer(continuation(" and went on"))
    (reply,) = ask(model_at(stub), request("<s>Once", max_tokens=7, stop=("X",), seed=3))
    assert (reply.text, reply.finish_reason) == (" and went on", "stop")
    assert stub.paths[-1] == "/v1/completions"
    assert stub.requests[-1] == {
        "model": "stub-1", "prompt": "<s>Once", "max_tokens": 7, "temperature": 0.7,
        "top_p": 0.95, "stop": ["X"], "seed": 3,
    }  # fmt: skip


def test_vllm_puts_no_second_beginning_before_raw_text(stub: StubServer) -> None:
    stub.owner = "vllm"
    stub.behave = lambda body: Answer(continuation("on"))
    ask(model_at(stub), request("<|begin_of_text|>user"), request("user"))
    has_own = [body.get("add_special_tokens") for body in stub.requests]
    assert sorted(has_own, key=str) == [False, None]
    assert stub.paths.count("/v1/models") == 1, "asked once, for both"


def test_thinking_that_the_raw_text_opened_is_kept_apart(stub: StubServer) -> None:
    stub.behave = lambda body: Answer(continuation("2+2</think>\n4"))
    (reply,) = ask(model_at(stub), request("<|assistant|><think>\n"))
    assert (reply.reasoning, reply.text) == ("2+2", "4")


def test_a_server_that_cannot_continue_says_so(stub: StubServer) -> None:
    stub.behave = lambda body: failure(404, "Not Found")
    (reply,) = ask(model_at(stub), request("Once"))
    assert reply.error_code == "teacher_error"
    assert "does not continue raw text" in reply.error
    stub.behave = lambda body: failure(404, "The model stub-1 does not exist")
    assert ask(model_at(stub), request("Once"))[0].error_code == "unknown_model"
    stub.behave = lambda body: Answer(completion("a chat answer"))
    assert ask(model_at(stub), request("Once"))[0].error_code == "malformed_reply"


@pytest.mark.parametrize("raw", ["", "Once"])
def test_halves_of_characters_are_in_no_part_of_a_reply(stub: StubServer, raw: str) -> None:
    logprobs = {"content": [{"token": "\ud83d", "logprob": -1.0,
                             "top_logprobs": [{"token": "\ude00", "logprob": -1.0}]}]}  # fmt: skip
    body = completion("ok \ud83d", reasoning_content="so \ude00") | {"model": "m\ud83d"}
    body["choices"][0]["logprobs"] = logprobs
    further = continuation("<think>so \ude00</think>ok \ud83d", logprobs=logprobs)
    stub.behave = lambda _: Answer(further | {"model": "m\ud83d"} if raw else body)
    asked = request("Once<think>" if raw else "", top_logprobs=1)
    (reply,) = ask(model_at(stub), asked)
    assert (reply.text, reply.reasoning, reply.model) == ("ok \ufffd", "so \ufffd", "m\ufffd")
    assert reply.logprobs[0].token == "\ufffd"
    assert reply.logprobs[0].top[0][0] == "\ufffd"


def test_bytes_that_are_halves_of_one_character_are_joined(stub: StubServer) -> None:
    said = json.dumps(completion("ok HALVES")).encode()
    stub.behave = lambda _: Answer(said.replace(b"HALVES", b"\xed\xa0\xbd\xed\xb8\x80"))
    (reply,) = ask(model_at(stub), request())
    assert reply.text == "ok \U0001f600"


# -- schemas ------------------------------------------------------------------------------


def test_a_schema_is_sent_for_the_server_to_enforce(stub: StubServer) -> None:
    (reply,) = ask(model_at(stub), request(schema=SCHEMA))
    assert stub.requests[-1]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "A_task_", "schema": SCHEMA, "strict": True},
    }
    assert reply.extra == {}


@pytest.mark.parametrize(
    "refusal",
    [
        failure(400, "response_format type 'json_schema' is unavailable now", code="invalid"),
        failure(400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported"),
        failure(422, "guided decoding is off"),
        Answer({"detail": [{"loc": ["body", "response_format"], "msg": "extra"}]}, 422),
    ],
)
def test_a_refused_schema_is_left_out_for_that_model(stub: StubServer, refusal: Answer) -> None:
    stub.behave = lambda body: refusal if "response_format" in body else Answer(completion("ok"))
    model = model_at(stub)
    first = ask(model, request(schema=SCHEMA))[0]
    second, plain = ask(model, request(schema=SCHEMA))[0], ask(model, request())[0]
    assert first.text == "ok"
    assert first.extra == second.extra == {"left_out": ["response_format"]}
    assert plain.extra == {}, "it wanted none"
    assert sum("response_format" in body for body in stub.requests) == 1


def test_other_refusals_are_not_taken_for_one(stub: StubServer) -> None:
    stub.behave = lambda body: failure(400, "the prompt is rude")
    assert ask(model_at(stub), request(schema=SCHEMA))[0].error_code == "teacher_error"
    assert len(stub.requests) == 1
    stub.behave = lambda body: failure(400, "response_format is bad")
    assert ask(model_at(stub), request())[0].error_code == "teacher_error", "none was sent"


def test_an_unrecognised_parameter_is_left_out(stub: StubServer) -> None:
    def behave(body: dict) -> Answer:
        if "seed" in body:
            return failure(400, "Unrecognized request argument supplied: seed")
        return Answer(completion("ok"))

    stub.behave = behave
    assert ask(model_at(stub), request(seed=4))[0].extra == {"left_out": ["seed"]}


# -- log-probabilities --------------------------------------------------------------------


def entry(token: str, logprob: float, top: list | None = None, **more: Any) -> dict[str, Any]:
    fields = {"token": token, "logprob": logprob, "bytes": None}
    return fields | ({"top_logprobs": top} if top is not None else {}) | more


def test_log_probabilities_of_a_chat(stub: StubServer) -> None:
    content = [
        entry("Par", -0.1, [entry("Par", -0.1), entry("Lon", -2.5)]),
        entry("is", -0.01, [entry("on", -5.0), entry("is", -0.01), entry("at", -9.0)]),
    ]
    body = completion("Paris")
    body["choices"][0]["logprobs"] = {"content": content}
    stub.behave = lambda _: Answer(body)
    model = model_at(stub)
    (reply,) = ask(model, request(top_logprobs=2))
    sent = stub.requests[-1]
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)
    assert "return_tokens_as_token_ids" not in sent, "not known to be vLLM"
    assert [t.token for t in reply.logprobs] == ["Par", "is"]
    assert reply.logprobs[1].top == (("is", None, -0.01), ("on", None, -5.0))
    (plain,) = ask(model, request())
    assert plain.logprobs == (), "kept only where asked for"
    assert "logprobs" not in stub.requests[-1]


def test_vllm_gives_token_ids(stub: StubServer) -> None:
    """As vLLM 0.32 writes them: the text is in `bytes`, of the written token only."""

    def top(token_id: int, logprob: float) -> dict:
        name = f"token_id:{token_id}"
        return entry(name, logprob) | {"bytes": list(name.encode())}

    written = entry("token_id:42", -0.3, [top(42, -0.3), top(7, -1.4)]) | {
        "bytes": list("é".encode())
    }
    body = completion("é")
    body["choices"][0]["logprobs"] = {"content": [written]}
    stub.owner = "vllm"
    stub.behave = lambda _: Answer(body)
    (reply,) = ask(model_at(stub), request(top_logprobs=2))
    assert stub.requests[-1]["return_tokens_as_token_ids"] is True
    (token,) = reply.logprobs
    assert (token.token, token.token_id, token.logprob) == ("é", 42, -0.3)
    assert token.top == (("", 42, -0.3), ("", 7, -1.4))


def test_log_probabilities_of_a_continuation(stub: StubServer) -> None:
    lists = {
        "tokens": ["token_id:5", "token_id:6"],
        "token_logprobs": [-1.0, None],
        "top_logprobs": [{"token_id:5": -1.0, "token_id:9": -0.5, "token_id:1": -3.0}, None],
        "text_offset": [0, 2],
    }
    stub.behave = lambda _: Answer(continuation("ab", logprobs=lists))
    (reply,) = ask(model_at(stub), request("go", top_logprobs=2))
    assert stub.requests[-1]["logprobs"] == 2
    assert "top_logprobs" not in stub.requests[-1]
    (token,) = reply.logprobs
    assert (token.token_id, token.top) == (5, (("", 9, -0.5), ("", 5, -1.0)))


def test_llama_cpp_writes_ids_beside_the_text() -> None:
    content = [entry("a", -1.0, [entry("a", -1.0, id=3)], id=3)]
    body = completion("a")
    body["choices"][0]["logprobs"] = {"content": content}
    reply = reply_from(request(top_logprobs=1), body, "m")
    assert reply is not None
    assert (reply.logprobs[0].token_id, reply.logprobs[0].top) == (3, (("a", 3, -1.0),))


@pytest.mark.parametrize("broken", [None, 3, [], {"content": None}, {"content": [{"token": 1}, 2]}])
def test_broken_log_probabilities_do_not_cost_the_answer(broken: object) -> None:
    body = completion("fine")
    body["choices"][0]["logprobs"] = broken
    reply = reply_from(request(top_logprobs=2), body, "m")
    assert reply is not None
    assert (reply.text, reply.logprobs) == ("fine", ())


def test_a_model_without_log_probabilities_answers_without(stub: StubServer) -> None:
    said = "You are not allowed to request logprobs from this model"
    stub.behave = lambda body: failure(403, said) if "logprobs" in body else Answer(completion("x"))
    (reply,) = ask(model_at(stub), request(top_logprobs=3))
    assert reply.extra == {"left_out": ["logprobs"]}
    assert set(stub.requests[-1]) & {"logprobs", "top_logprobs"} == set()
