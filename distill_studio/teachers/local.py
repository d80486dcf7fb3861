"""A transformers model in this process, behind the `ChatModel` interface.

Start at `LocalChatModel`. Creating one is free; the weights load at the first request. The work
runs on the engine's thread (`teachers.engine`), never on the event loop.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_studio.core.errors import StudioError, TeacherError
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatReply, ChatRequest
from distill_studio.core.records import UserTurn
from distill_studio.teachers.answer import DROPPED, Answer
from distill_studio.teachers.answer_text import split_reasoning
from distill_studio.teachers.loading import LOADING
from distill_studio.teachers.weights import Loaded, base_folder, load

if TYPE_CHECKING:
    from distill_studio.teachers.chat_format import ChatFormat
    from distill_studio.teachers.likelihood import LikelihoodScorer

_LOOK_S = 0.05  # between two looks at weights that load


class LocalChatModel:
    """Implements `ChatModel`; thread-safe, shared by jobs and pages.

    Args:
        name: Model id or folder; comes back in replies.
        resolve: Model id -> folder; may raise a StudioError. Called at the first request.
        cache_folder: Where the speed probe's result is kept.
        device: auto, cpu, cuda or mps.
        dtype: auto (the probe chooses), float32 or bfloat16.
    """

    def __init__(
        self,
        name: str,
        *,
        resolve: Callable[[str], Path],
        cache_folder: Path,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        self.name = name
        self._resolve = resolve
        self._cache_folder = cache_folder
        self._wanted_device = device
        self._wanted_dtype = dtype
        self._loaded: Loaded | None = None
        self._guard = threading.Lock()
        self._user_turn: UserTurn | None = None

    # -- facts ----------------------------------------------------------------------------

    @property
    def is_loaded(self) -> bool:
        """True while the weights are in memory."""
        return self._loaded is not None

    @property
    def is_busy(self) -> bool:
        """True while it answers."""
        return self._loaded is not None and self._loaded.engine.is_busy

    @property
    def parameters(self) -> int:
        """Number of weights, its base's for an adapter; read from the files' headers."""
        return sum(_header_parameters(path) for path in self._weight_files())

    @property
    def size_bytes(self) -> int:
        """Bytes of the weights on disk."""
        return sum(path.stat().st_size for path in self._weight_files())

    @property
    def dtype(self) -> str:
        """float32 or bfloat16; empty before loading."""
        return self._loaded.dtype if self._loaded else ""

    @property
    def device(self) -> str:
        """cpu, cuda or mps; empty before loading."""
        return self._loaded.device if self._loaded else ""

    def load(self) -> Loaded:
        """Load the weights now (seconds); free when they are there.

        Raises:
            StudioError: The model cannot be found, downloaded or loaded.
        """
        with self._guard:
            if self._loaded is None:
                folder = self._resolve(self.name)
                with LOADING:
                    self._loaded = load(
                        folder, self._cache_folder, self._wanted_device, self._wanted_dtype
                    )
            return self._loaded

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, by the model's own tokenizer; loads the model when it is not."""
        return self.load().chat.count(text)

    def user_turn(self) -> UserTurn:
        """How its conversations begin, by its tokenizer; the weights stay where they are.

        Raises:
            StudioError: The model cannot be found, or has no chat template.
        """
        if self._user_turn is None:
            from distill_studio.teachers.chat_format import user_turn

            folder = self._resolve(self.name)
            with LOADING:  # the import too: the library's lazy modules take one thread at a time
                from transformers import AutoTokenizer

                tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            self._user_turn = user_turn(tokenizer)
        return self._user_turn

    def scorer(self) -> LikelihoodScorer:
        """What reads losses of given answers from this model's weights; loads them.

        Raises:
            Unavailable: The weights are not in this process.
        """
        from distill_studio.teachers.likelihood import LikelihoodScorer

        return LikelihoodScorer(self.load())

    def unload(self) -> None:
        """Give the memory back; running answers end as failures."""
        with self._guard:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.engine.close()

    # -- ChatModel ------------------------------------------------------------------------

    async def generate(
        self, requests: Sequence[ChatRequest], cancel: CancelToken | None = None
    ) -> AsyncIterator[ChatReply]:
        """Answer every request once, in the order they end; failures are replies.

        A cancel ends it within about a second, also while the weights load (which they go on to
        do, for whoever asks next); requests not yet answered give no reply then.
        """
        call = _Call(asyncio.get_running_loop(), cancel)
        ended: asyncio.Queue[tuple[ChatRequest, Answer]] = asyncio.Queue()
        loading = _in_background(self.load)
        while not loading.done():
            if call.is_over():
                return
            await asyncio.sleep(_LOOK_S)
        try:
            loaded = loading.result()
        except StudioError as err:
            for request in requests:
                yield self._failure(request, err)
            return
        answers, refused = await asyncio.to_thread(_prepare, loaded.chat, requests, call, ended)
        for request, error in refused:
            yield self._failure(request, error)
        loaded.engine.submit(answers)
        try:
            for _ in answers:
                request, answer = await ended.get()
                if answer.finish_reason == DROPPED:
                    return  # cancelled
                yield self._reply(request, answer, loaded)
        finally:
            call.is_closed = True

    async def stream(
        self, request: ChatRequest, cancel: CancelToken | None = None
    ) -> AsyncIterator[str]:
        """Yield pieces of one answer; they join to the text that `generate` would give.

        Raises:
            TeacherError: The model cannot answer this.
        """
        call = _Call(asyncio.get_running_loop(), cancel)
        pieces: asyncio.Queue[str | Answer] = asyncio.Queue()
        loaded = await asyncio.to_thread(self.load)
        answer = loaded.chat.answer(
            request,
            on_piece=lambda piece: call.put(pieces, piece),
            on_end=lambda ended: call.put(pieces, ended),
            is_unwanted=call.is_over,
        )
        answer.is_urgent = True
        loaded.engine.submit([answer])
        try:
            while True:
                item = await pieces.get()
                if not isinstance(item, str):
                    if item.error:
                        raise TeacherError(item.error)
                    return
                yield item
        finally:
            call.is_closed = True

    # -- inside ---------------------------------------------------------------------------

    def _weight_files(self) -> list[Path]:
        whole = base_folder(self._resolve(self.name), self._cache_folder)
        return sorted(whole.glob("*.safetensors"))

    def _failure(self, request: ChatRequest, err: StudioError) -> ChatReply:
        return ChatReply(key=request.key, model=self.name, error_code=err.code, error=str(err))

    def _reply(self, request: ChatRequest, answer: Answer, loaded: Loaded) -> ChatReply:
        if answer.error:
            return self._failure(request, TeacherError(answer.error))
        reasoning, text = split_reasoning(
            "".join(answer.pieces), is_open=loaded.chat.opens_thinking(answer.prompt_ids)
        )
        return ChatReply(
            key=request.key,
            text=text,
            reasoning=reasoning,
            model=self.name,
            finish_reason=answer.finish_reason,
            prompt_tokens=len(answer.prompt_ids),
            completion_tokens=answer.tokens,
            latency_ms=answer.latency_s * 1000,
            logprobs=loaded.chat.logprobs(answer.choices),
        )


def _in_background(load: Callable[[], Loaded]) -> Future[Loaded]:
    """Load on a thread that nobody has to wait for, neither a stopped job nor the program's end."""
    future: Future[Loaded] = Future()

    def work() -> None:
        try:
            future.set_result(load())
        except BaseException as err:  # noqa: BLE001  (it is raised where the result is asked for)
            future.set_exception(err)

    threading.Thread(target=work, name="load-model", daemon=True).start()
    return future


class _Call:
    """One caller's side: carries events from the engine's thread to its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, cancel: CancelToken | None) -> None:
        self._loop = loop
        self._cancel = cancel
        self.is_closed = False

    def is_over(self) -> bool:
        """True when nobody wants the answers any more."""
        return self.is_closed or (self._cancel is not None and self._cancel.is_cancelled)

    def put(self, queue: asyncio.Queue[Any], item: object) -> None:
        """Hand over an item; a caller whose loop is gone wants no more."""
        try:
            self._loop.call_soon_threadsafe(queue.put_nowait, item)
        except RuntimeError:  # the loop is closed
            self.is_closed = True


def _prepare(
    chat: ChatFormat,
    requests: Sequence[ChatRequest],
    call: _Call,
    ended: asyncio.Queue[tuple[ChatRequest, Answer]],
) -> tuple[list[Answer], list[tuple[ChatRequest, TeacherError]]]:
    """The requests as the engine takes them, and those it cannot."""

    def report(request: ChatRequest, answer: Answer) -> None:
        call.put(ended, (request, answer))

    answers: list[Answer] = []
    refused: list[tuple[ChatRequest, TeacherError]] = []
    for request in requests:
        try:
            answers.append(
                chat.answer(
                    request,
                    on_piece=_ignore,
                    on_end=partial(report, request),
                    is_unwanted=call.is_over,
                )
            )
        except TeacherError as err:
            refused.append((request, err))
    return answers, refused


def _ignore(piece: str) -> None:
    """For callers that want whole answers only."""


def _header_parameters(path: Path) -> int:
    """Sum of the tensors' sizes in a safetensors header (8 bytes of length, then JSON)."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    return sum(math.prod(shape) for shape in shapes)
