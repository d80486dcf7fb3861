"""The in-process model on the real starter weights."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from distill_studio.core.errors import TeacherError
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatModel, ChatRequest, SamplingParams
from distill_studio.core.records.seed import Message
from distill_studio.core.settings import Settings
from distill_studio.teachers.local import LocalChatModel
from distill_studio.teachers.models import ModelHost

CHAT = "smollm2-135m-instruct"
PROMPTS = [
    "What is the capital of France?",
    "Name three colours.",
    "Write one sentence about the sea and the many ships which cross it every day and night.",
    "What is 2 + 2?",
    "Reply with an emoji of a cat, then the word Zürich.",
]
pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def host(starter_cache: Path):
    host = ModelHost(Settings(home=starter_cache.parent / "home", cache=starter_cache))
    yield host
    host.close()


@pytest.fixture(scope="module")
def model(host: ModelHost, starter_cache: Path):
    """In float32 whatever the probe says: there batched and single greedy answers are equal."""
    model = LocalChatModel(
        CHAT, resolve=host.resolve, cache_folder=starter_cache, device="cpu", dtype="float32"
    )
    yield model
    model.unload()


def ask(text: str, key: str = "0", **sampling) -> ChatRequest:
    params = {"temperature": 0.0, "max_tokens": 20} | sampling
    return ChatRequest(
        key=key,
        messages=(Message(role="user", content=text),),
        sampling=SamplingParams(**params),
    )


def answer_all(model: ChatModel, requests, cancel=None):
    async def collect():
        return [reply async for reply in model.generate(requests, cancel)]

    return asyncio.run(collect())


def test_a_stop_does_not_wait_for_the_weights(starter_cache: Path):
    may_go, asked = threading.Event(), threading.Event()

    def resolve(_: str) -> Path:
        asked.set()
        may_go.wait(60)
        raise TeacherError("nothing to load")

    model = LocalChatModel("slow", resolve=resolve, cache_folder=starter_cache)
    cancel = CancelToken()
    threading.Thread(target=lambda: asked.wait(60) and cancel.cancel()).start()
    assert answer_all(model, [ask("Hello")], cancel) == []
    assert not may_go.is_set()
    may_go.set()
    (reply,) = answer_all(model, [ask("Hello")])
    assert "nothing to load" in reply.error


def stream_all(model: ChatModel, request, cancel=None) -> list[str]:
    async def collect():
        return [piece async for piece in model.stream(request, cancel)]

    return asyncio.run(collect())


@pytest.fixture(scope="module")
def batched(model):
    """All prompts in one call, greedy."""
    requests = [ask(text, str(i)) for i, text in enumerate(PROMPTS)]
    return {reply.key: reply for reply in answer_all(model, requests)}


def test_it_answers_with_all_the_facts(batched, model):
    assert isinstance(model, ChatModel)
    reply = batched["0"]
    assert "Paris" in reply.text
    assert reply.is_ok
    assert reply.finish_reason == "stop"
    assert reply.prompt_tokens == 37
    assert 0 < reply.completion_tokens < 20
    assert reply.latency_ms > 0
    assert reply.model == CHAT
    assert {r.finish_reason for r in batched.values()} == {"stop", "length"}
    assert model.parameters == 134_515_008
    assert model.size_bytes == pytest.approx(269e6, rel=0.01)
    assert (model.device, model.dtype) == ("cpu", "float32")


def test_batched_greedy_is_what_transformers_says_of_each_alone(batched, model):
    """Left padding, joining rows, leaving rows and positions: any mistake changes a word."""
    import torch

    loaded = model.load()
    for i, text in enumerate(PROMPTS):
        ids = torch.tensor([loaded.chat.prompt_ids(ask(text).messages)])
        written = loaded.engine.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False
        )
        assert batched[str(i)].text == loaded.chat.decode(written[0, ids.shape[1] :].tolist())


def test_rows_may_join_a_running_batch(batched, model):
    """Two rows at most: the other prompts join while longer answers run."""
    engine = model.load().engine
    was, engine.max_rows = engine.max_rows, 2
    try:
        requests = [ask(text, str(i)) for i, text in enumerate(PROMPTS)]
        replies = {r.key: r.text for r in answer_all(model, requests)}
    finally:
        engine.max_rows = was
    assert replies == {key: reply.text for key, reply in batched.items()}


def test_a_long_prompt_is_read_in_chunks(model):
    engine = model.load().engine
    text = "The password is swordfish. " + "Nothing to see here. " * 12 + "What is the password?"
    whole = answer_all(model, [ask(text)])[0]
    was, engine.chunk_tokens = engine.chunk_tokens, 32
    try:
        assert answer_all(model, [ask(text)])[0].text == whole.text
    finally:
        engine.chunk_tokens = was


def test_stream_gives_the_same_text_in_pieces(batched, model):
    for i in (0, 4):
        pieces = stream_all(model, ask(PROMPTS[i]))
        assert len(pieces) > 2
        assert "".join(pieces) == batched[str(i)].text
        assert not any("\ufffd" in piece for piece in pieces)


def test_stop_strings_end_the_answer(model):
    reply = answer_all(model, [ask(PROMPTS[0], stop=(" of",))])[0]
    assert (reply.text, reply.finish_reason) == ("The capital", "stop")
    assert "".join(stream_all(model, ask(PROMPTS[0], stop=(" of",)))) == "The capital"


def test_a_seed_repeats_and_another_differs(model):
    def sample(seed):
        return ask(PROMPTS[2], temperature=1.0, top_p=0.9, seed=seed, max_tokens=12)

    one, other = answer_all(model, [sample(1)])[0], answer_all(model, [sample(2)])[0]
    assert one.text != other.text
    crowd = [sample(1).model_copy(update={"key": "x"}), ask(PROMPTS[0], "y")]
    replies = {r.key: r.text for r in answer_all(model, crowd)}
    assert replies["x"] == one.text


def test_too_long_is_a_failure_reply_and_the_others_are_answered(model):
    requests = [ask("word " * 9000, "long"), ask(PROMPTS[0], "short")]
    replies = {r.key: r for r in answer_all(model, requests)}
    assert replies["long"].error_code == "context_too_long"
    assert "8192" in replies["long"].error
    assert "Paris" in replies["short"].text


def await_idle(model) -> None:
    """Its thread leaves soon: long before 2,000 tokens could be written."""
    limit = time.monotonic() + 30
    while model.is_busy:
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_cancel_ends_generation_and_stream(model):
    cancel = CancelToken()
    requests = [ask("Count to one thousand.", str(i), max_tokens=2000) for i in range(4)]

    async def run():
        stream = model.stream(ask("Count to one thousand.", max_tokens=2000), cancel)
        await anext(stream)
        asyncio.get_running_loop().call_later(0.5, cancel.cancel)
        replies = [r async for r in model.generate(requests, cancel)]
        rest = [p async for p in stream]
        return replies, rest

    replies, rest = asyncio.run(run())
    assert replies == []
    assert len(rest) < 1500  # of 2,000 tokens
    await_idle(model)


def test_closing_a_stream_frees_the_model(model):
    async def run():
        stream = model.stream(ask("Count to one thousand.", max_tokens=2000))
        await anext(stream)
        await stream.aclose()

    asyncio.run(run())
    await_idle(model)


def test_two_models_stream_at_once_and_the_loop_stays_free(host, model, monkeypatch):
    other, computing = host.chat_model(CHAT), set()

    async def pump(chat):
        return "".join([piece async for piece in chat.stream(ask(PROMPTS[0]))])

    def watched(forward):
        def call(*args):
            computing.add(threading.current_thread())
            return forward(*args)

        return call

    async def run():
        return await asyncio.gather(pump(model), pump(other))

    for each in (model, other):
        engine = each.load().engine
        monkeypatch.setattr(engine, "_forward", watched(engine._forward))
    texts = asyncio.run(run())
    assert all("Paris" in text for text in texts)
    assert computing
    assert threading.current_thread() not in computing


def test_a_model_that_is_not_there_fails_every_request(starter_cache, host):
    missing = LocalChatModel("owner/none", resolve=host.resolve, cache_folder=starter_cache)
    replies = answer_all(missing, [ask("hi", "1"), ask("ho", "2")])
    assert [(r.key, r.error_code) for r in replies] == [("1", "unavailable"), ("2", "unavailable")]


def test_a_step_that_fails_fails_its_requests_and_the_model_lives_on(model, monkeypatch):
    engine = model.load().engine

    def break_down(*args):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_forward", break_down)
        replies = answer_all(model, [ask("hi", "1"), ask("ho", "2")])
    assert sorted(r.key for r in replies) == ["1", "2"]
    assert all(r.error_code == "teacher_error" and "out of memory" in r.error for r in replies)
    assert "Paris" in answer_all(model, [ask(PROMPTS[0])])[0].text


def test_a_stream_need_not_wait_for_a_full_batch(model):
    engine = model.load().engine
    was, engine.max_rows = engine.max_rows, 1

    async def run():
        job = asyncio.create_task(collect_job())
        await asyncio.sleep(0.5)
        text = "".join([p async for p in model.stream(ask(PROMPTS[0]))])
        was_running = not job.done()
        cancel.cancel()
        await job
        return text, was_running

    async def collect_job():
        requests = [ask("Count to one thousand.", str(i), max_tokens=1000) for i in range(3)]
        return [r async for r in model.generate(requests, cancel)]

    cancel = CancelToken()
    try:
        text, was_running = asyncio.run(run())
    finally:
        engine.max_rows = was
    assert "Paris" in text
    assert was_running


def test_unloading_ends_what_runs_and_it_loads_again(host):
    chat = host.chat_model(CHAT)

    async def run():
        replies = []

        async def ask_on():
            replies.extend([r async for r in chat.generate([ask("Count.", max_tokens=2000)])])

        task = asyncio.create_task(ask_on())
        while not chat.is_busy:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(chat.unload)
        await task
        return replies

    replies = asyncio.run(run())
    assert replies[0].error_code == "teacher_error"
    assert not chat.is_loaded
    assert "Paris" in answer_all(chat, [ask(PROMPTS[0])])[0].text
