"""ZeroGPU: another process writes the answers; without `spaces` nothing changes.

The real one cannot be had here. What is known of it (spaces 0.51: arguments and results are
pickled, the function runs in another process) is played by a decorator that does the same.
"""

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from distill_studio.core.protocols import ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message
from distill_studio.teachers import zero_gpu
from distill_studio.teachers.local import LocalChatModel
from tests.tiny_model import build_tiny_model

ORDER = zero_gpu.Order([1, 2], 300, 0.0, 1.0, 1, (), 0)


def test_without_spaces_nothing_is_decorated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not zero_gpu.is_here()
    assert zero_gpu.on_gpu(len) is len
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setattr(zero_gpu, "spaces", None)
    assert not zero_gpu.is_here()


def test_the_time_asked_for_grows_with_the_longest_answer() -> None:
    longer = zero_gpu.Order([1], 1000, 0.0, 1.0, 1, (), 0)
    short, long = (zero_gpu.duration_s("", "", "", o) for o in ([ORDER], [ORDER, longer]))
    assert short < long <= 120


def test_the_start_is_reported_for_the_app_never_launches_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`spaces.zero.startup` (0.51) is called by a patched `gr.Blocks.launch`, or by us."""
    reports: list[str] = []
    fake = ModuleType("spaces")
    fake.zero = SimpleNamespace(startup=lambda: reports.append("up"))
    monkeypatch.setattr(zero_gpu, "spaces", fake)
    zero_gpu.report_start()
    assert reports == [], "not on ZeroGPU"
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    zero_gpu.report_start()
    assert reports == ["up"]


def write_plainly(*args):
    """Runs in the other process, where nothing is decorated."""
    return zero_gpu.write_all(*args)


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch):
    """A `spaces` whose GPU runs the function in another process; the seconds asked for."""
    asked: list[int] = []
    fake = ModuleType("spaces")
    monkeypatch.setattr(zero_gpu, "spaces", fake)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:

        def gpu(function, duration):
            assert function is zero_gpu.write_all

            def lend(*args):
                asked.append(duration(*args))
                return pool.submit(write_plainly, *args).result()

            return lend

        fake.GPU = gpu
        monkeypatch.setenv("SPACES_ZERO_GPU", "true")
        decorated = zero_gpu.on_gpu(zero_gpu.write_all)
        monkeypatch.delenv("SPACES_ZERO_GPU")
        monkeypatch.setattr(zero_gpu, "write_all", decorated)
        monkeypatch.setattr(zero_gpu, "is_here", lambda: True)
        yield asked


def ask(model: LocalChatModel, requests: list[ChatRequest]) -> dict[str, ChatReply]:
    async def collect() -> dict[str, ChatReply]:
        return {reply.key: reply async for reply in model.generate(requests)}

    return asyncio.run(collect())


@pytest.mark.slow
def test_answers_are_those_of_the_engine(
    tmp_path: Path, starter_cache: Path, lent, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build_tiny_model(tmp_path / "tiny")

    def model() -> LocalChatModel:
        return LocalChatModel(
            "tiny", resolve=lambda _: folder, cache_folder=starter_cache, dtype="float32"
        )

    requests = [
        ChatRequest(
            key=str(n),
            messages=(Message(role="user", content=f"say {word}"),),
            sampling=SamplingParams(temperature=0.0, max_tokens=9, top_logprobs=2),
        )
        for n, word in enumerate(["red", "nine", "cat"])
    ]
    far = ask(model(), requests)
    assert len(lent) == 1, "one call for the group"
    monkeypatch.setattr(zero_gpu, "is_here", lambda: False)
    near = ask(model(), requests)
    assert [reply.error for reply in far.values()] == [""] * 3
    for key, reply in near.items():
        assert reply.is_ok, reply.error
        assert (far[key].text, far[key].completion_tokens) == (reply.text, reply.completion_tokens)
        assert [t.token_id for t in far[key].logprobs] == [t.token_id for t in reply.logprobs]


@pytest.mark.slow
def test_a_refused_gpu_is_told(tmp_path: Path, starter_cache: Path, monkeypatch) -> None:
    folder = build_tiny_model(tmp_path / "tiny")

    def refuse(*args: object) -> None:
        raise RuntimeError("You have exceeded your GPU quota")

    monkeypatch.setattr(zero_gpu, "is_here", lambda: True)
    monkeypatch.setattr(zero_gpu, "write_all", refuse)
    model = LocalChatModel("tiny", resolve=lambda _: folder, cache_folder=starter_cache)
    request = ChatRequest(
        key="0",
        messages=(Message(role="user", content="say red"),),
        sampling=SamplingParams(max_tokens=9),
    )
    reply = ask(model, [request])["0"]
    assert reply.error_code == "teacher_error"
    assert "exceeded your GPU quota" in reply.error
