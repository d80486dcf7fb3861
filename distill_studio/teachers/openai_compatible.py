"""A teacher behind any OpenAI-compatible URL: vLLM, hosted APIs, Ollama, llama.cpp, TGI.

Start from `OpenAIChatModel`. It sends a bounded number of requests at a time, tries again what
may pass (with back-off, and as long as the server's `Retry-After` wishes), and tells each way to
fail in the user's words. The key is held in memory and appears in no message. The client library
takes half a second to import and loads on first use.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httpx2
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from distill_studio.core.errors import TeacherError, TeacherRateLimited
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatReply, ChatRequest
from distill_studio.core.records import TeacherConfig
from distill_studio.teachers import openai_errors as errors
from distill_studio.teachers.answer_text import split_reasoning

if TYPE_CHECKING:
    import openai

_CONNECT_S = 10.0
_POLL_S = 0.1  # how soon a cancel is noticed
_CONNECTIONS_A_CLIENT = 16  # its pool looks at each of them, twice for every request
_ADAPTABLE = {"max_tokens", "temperature", "top_p", "seed", "stop"}
# A server whose template opened `<think>` in the prompt leaves a closing tag on a line of its own.
_CLOSING_LINE = re.compile(r"(?:^|\n)[ \t]*</think>[ \t]*(?:\n|$)")
_back_off = wait_random_exponential(multiplier=0.5, min=0.2, max=30.0)


@dataclass
class _Shared:
    """A client and how many requests it carries."""

    client: openai.AsyncOpenAI
    in_flight: int = 0


class OpenAIChatModel:
    """Implements `ChatModel` over HTTP.

    Args:
        config: Address, model, limits.
        api_key: Sent as bearer token; empty for servers that want none.
    """

    def __init__(self, config: TeacherConfig, api_key: str = "") -> None:
        import openai

        self.name = config.name
        self.config = config
        self._api_key = api_key
        # Without a key the client insists that the header be left out expressly.
        self._headers: dict[str, Any] = {} if api_key else {"Authorization": openai.Omit()}
        self._not_before = 0.0  # monotonic; a 429 holds back every request, not only its own
        self._refused: set[str] = set()  # parameters this model does not take
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, list[_Shared]] = (
            WeakKeyDictionary()
        )

    # -- ChatModel ------------------------------------------------------------------------

    async def generate(
        self, requests: Iterable[ChatRequest], cancel: CancelToken | None = None
    ) -> AsyncIterator[ChatReply]:
        """Answer every request once, as replies arrive; requests are pulled only when sent.

        Raises:
            Cancelled: Within a fraction of a second after `cancel`; open requests are dropped.
        """
        pending = iter(requests)
        in_flight: set[asyncio.Task[ChatReply]] = set()
        room = min(self.config.concurrency, max(1, length_hint(requests, 1_000_000)))
        try:
            while True:
                for request in islice(pending, room - len(in_flight)):
                    in_flight.add(asyncio.create_task(self._reply(request)))
                if not in_flight:
                    return
                done, in_flight = await asyncio.wait(
                    in_flight, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    yield task.result()
                if cancel is not None:
                    cancel.raise_if_cancelled()
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)

    async def stream(
        self, request: ChatRequest, cancel: CancelToken | None = None
    ) -> AsyncIterator[str]:
        """Yield pieces of one answer as they are written.

        Raises:
            TeacherError: In any of its forms.
            Cancelled: After `cancel`.
        """
        import openai

        body = self.body(request) | {"stream": True}
        async with self._new_client() as client:
            try:
                chunks = await client.chat.completions.create(**body, extra_headers=self._headers)
                async for chunk in chunks:
                    if cancel is not None:
                        cancel.raise_if_cancelled()
                    choices = chunk.choices or []
                    piece = choices[0].delta.content if choices and choices[0].delta else None
                    if piece:
                        yield piece
            except openai.APIError as err:
                raise errors.translate(err, self.config, self._api_key) from err
            except (httpx2.HTTPError, ValueError) as err:  # cut off, or no JSON
                raise errors.malformed(
                    self.config, "a broken stream", str(err).encode(), self._api_key
                ) from err

    # -- beyond ChatModel -----------------------------------------------------------------

    async def list_models(self) -> list[str]:
        """Ids of the models that the server offers, sorted.

        Raises:
            TeacherError: In any of its forms.
        """
        async with self._new_client() as client:
            response = await self._guarded(
                client.get("/models", cast_to=httpx2.Response, options={"headers": self._headers})
            )
        data = self._json(response)
        models = data.get("data", data.get("models")) if isinstance(data, dict) else data
        if not isinstance(models, list):
            raise errors.malformed(
                self.config, "no list of models", response.content, self._api_key
            )
        ids = (m.get("id") or m.get("name") if isinstance(m, dict) else m for m in models)
        return sorted({str(i) for i in ids if i})

    async def ask(self, request: ChatRequest) -> ChatReply:
        """One request, one attempt.

        Raises:
            TeacherError: In any of its forms.
        """
        started = time.perf_counter()
        body = self.body(request)
        import openai

        try:
            with self._client() as client:
                async with asyncio.timeout(self.config.timeout_s):
                    response = await client.post(
                        "/chat/completions",
                        cast_to=httpx2.Response,
                        body=body,
                        options={"headers": self._headers},
                    )
        except TimeoutError as err:
            raise errors.timed_out(self.config) from err
        except openai.APIError as err:
            refused = errors.unsupported_parameter(err)
            if refused in _ADAPTABLE and refused in body:
                self._refused.add(refused)
                return await self.ask(request)
            raise errors.translate(err, self.config, self._api_key) from err
        return self._parse(request, response, 1000 * (time.perf_counter() - started))

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The JSON that is sent for a request."""
        sampling = request.sampling
        fields: dict[str, Any] = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.stop:
            fields["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            fields["seed"] = sampling.seed
        if "max_tokens" in self._refused:  # newer OpenAI models want it under another name
            fields["max_completion_tokens"] = sampling.max_tokens
        return {
            "model": self.config.model,
            "messages": [m.model_dump() for m in request.messages],
            **{name: value for name, value in fields.items() if name not in self._refused},
        }

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        for shared in self._clients.pop(asyncio.get_running_loop(), []):
            await shared.client.close()

    # -- inside ---------------------------------------------------------------------------

    async def _reply(self, request: ChatRequest) -> ChatReply:
        """The answer, after as many attempts as allowed; else the failure as a reply."""
        started = time.perf_counter()
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(self.config.max_retries + 1),
                wait=_wait_s,
                retry=retry_if_exception(
                    lambda err: isinstance(err, TeacherError) and err.is_retryable
                ),
                reraise=True,
            ):
                with attempt:
                    await self._hold_back()
                    return await self._attempt(request)
        except TeacherError as err:
            return ChatReply(
                key=request.key,
                model=self.config.model,
                latency_ms=1000 * (time.perf_counter() - started),
                error_code=err.code,
                error=str(err),
            )
        raise AssertionError("tenacity ends with a result or an exception")

    async def _attempt(self, request: ChatRequest) -> ChatReply:
        try:
            return await self.ask(request)
        except TeacherRateLimited as err:
            if err.is_retryable and err.retry_after_s is not None:
                self._not_before = max(self._not_before, time.monotonic() + err.retry_after_s)
            raise

    async def _hold_back(self) -> None:
        while (wait_s := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)

    def _parse(self, request: ChatRequest, response: Any, latency_ms: float) -> ChatReply:  # noqa: ANN401
        data = self._json(response)
        choices = data.get("choices") if isinstance(data, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(content, str | None):
            raise errors.malformed(
                self.config, "no chat completion", response.content, self._api_key
            )
        text = content or ""
        is_open = "<think>" not in text and bool(_CLOSING_LINE.search(text))
        thought, answer = split_reasoning(text, is_open=is_open)
        apart = message.get("reasoning_content") or message.get("reasoning")
        usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
        return ChatReply(
            key=request.key,
            text=answer,
            reasoning=apart if isinstance(apart, str) else thought,
            model=str(data.get("model") or self.config.model),
            finish_reason=str(choice.get("finish_reason") or "") if choice else "",
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            latency_ms=latency_ms,
            extra={"left_out": sorted(self._refused)} if self._refused else {},
        )

    def _json(self, response: Any) -> Any:  # noqa: ANN401  (any JSON value)
        try:
            return json.loads(response.content)
        except ValueError as err:
            raise errors.malformed(
                self.config, "something that is not JSON", response.content, self._api_key
            ) from err

    async def _guarded(self, call: Any) -> Any:  # noqa: ANN401  (the client's awaitable)
        import openai

        try:
            async with asyncio.timeout(self.config.timeout_s):
                return await call
        except TimeoutError as err:
            raise errors.timed_out(self.config) from err
        except openai.APIError as err:
            raise errors.translate(err, self.config, self._api_key) from err

    @contextmanager
    def _client(self) -> Iterator[openai.AsyncOpenAI]:
        """The least busy client of the running event loop: connections cannot move between loops.

        With 256 requests in flight a single client would spend most of its time on its pool.
        """
        count = -(-self.config.concurrency // _CONNECTIONS_A_CLIENT)
        all_shared = self._clients.setdefault(asyncio.get_running_loop(), [])
        shared = min(all_shared, key=lambda each: each.in_flight, default=None)
        if shared is None or (shared.in_flight and len(all_shared) < count):
            shared = _Shared(self._new_client(_CONNECTIONS_A_CLIENT))
            all_shared.append(shared)
        shared.in_flight += 1
        try:
            yield shared.client
        finally:
            shared.in_flight -= 1

    def _new_client(self, connections: int = 1) -> openai.AsyncOpenAI:
        import openai

        # Nothing but what the user configured: no key, organisation or project that the client
        # would find in the environment, and no redirect that would carry the key elsewhere.
        unset: dict[str, Any] = {
            name: openai.Omit() for name in ("OpenAI-Organization", "OpenAI-Project")
        }
        is_here = httpx2.URL(self.config.base_url).host in ("127.0.0.1", "localhost", "::1")
        return openai.AsyncOpenAI(
            api_key=self._api_key or "none",
            base_url=self.config.base_url,
            max_retries=0,  # ours, which know of the other requests
            default_headers=unset,
            http_client=httpx2.AsyncClient(
                timeout=httpx2.Timeout(
                    self.config.timeout_s, connect=min(_CONNECT_S, self.config.timeout_s), pool=None
                ),
                limits=httpx2.Limits(
                    max_connections=connections, max_keepalive_connections=connections
                ),
                follow_redirects=False,
                trust_env=not is_here,  # a proxy cannot reach this machine's own servers
            ),
        )


def _wait_s(state: RetryCallState) -> float:
    """What the server asked for, else back-off with jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, TeacherRateLimited) else None
    return _back_off(state) if asked is None else asked


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
