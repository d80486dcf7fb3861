"""A teacher behind any OpenAI-compatible URL: vLLM, hosted APIs, Ollama, llama.cpp, TGI.

Start from `OpenAIChatModel`. It sends a bounded number of requests at a time to one or several
URLs, tries again what may pass (with back-off, and as long as the server's `Retry-After` wishes),
and tells each way to fail in the user's words. The key is held in memory and appears in no
message. The client library takes half a second to import and loads on first use.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import islice
from operator import length_hint
from typing import Any

import httpx2
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from distill_studio.core.errors import TeacherError, TeacherRateLimited, TeacherUnreachable
from distill_studio.core.progress import CancelToken
from distill_studio.core.protocols import ChatReply, ChatRequest
from distill_studio.core.reach import Reach
from distill_studio.core.records import TeacherConfig
from distill_studio.teachers import openai_errors as errors
from distill_studio.teachers import openai_wire as wire
from distill_studio.teachers.endpoints import Endpoint, Endpoints, new_client
from distill_studio.teachers.openai_stream import Heard, Streamed, nobody
from distill_studio.teachers.prices import price_of, tokens_in
from distill_studio.teachers.rate_limit import RateLimit, Turns
from distill_studio.teachers.spending import SpendMeter

_POLL_S = 0.1  # how soon a cancel is noticed
_FIRST_GUESS = 256  # tokens of an answer, until the first ones have come
_NEWEST_WEIGHT = 0.1  # of an answer's length in the running average
_back_off = wait_random_exponential(multiplier=0.5, min=0.2, max=30.0)


class OpenAIChatModel:
    """Implements `ChatModel` over HTTP.

    Args:
        config: Addresses, model, limits.
        api_key: Sent as bearer token to these addresses; empty for servers that want none.
        limit: Shared by all that ask this teacher; its own without one.
        spent_usd: What the job cost before a restart; counts towards the spend limit.
        reach: Where connections may lead; by default where this process was told.
    """

    def __init__(
        self,
        config: TeacherConfig,
        api_key: str = "",
        *,
        limit: RateLimit | None = None,
        spent_usd: float = 0.0,
        reach: Reach | None = None,
    ) -> None:
        import openai

        self.name = config.name
        self.config = config
        self.spending = SpendMeter(config.name, price_of(config), config.spend_limit_usd, spent_usd)
        self._api_key = api_key
        # Without a key the client insists that the header be left out expressly.
        self._headers: dict[str, Any] = {} if api_key else {"Authorization": openai.Omit()}
        self._refused: set[str] = set()  # parameters this model does not take
        self._endpoints = Endpoints(config, reach=reach)
        self.limit = limit or RateLimit(config.requests_per_min, config.tokens_per_min)
        self._turns = Turns(self.limit)
        self._answer_tokens: float | None = None  # running average

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

    def stream(self, request: ChatRequest, cancel: CancelToken | None = None) -> AsyncIterator[str]:
        """See `stream_counted`."""
        return self.stream_counted(request, cancel, nobody)

    async def stream_counted(
        self, request: ChatRequest, cancel: CancelToken | None, heard: Heard
    ) -> AsyncIterator[str]:
        """Yield pieces of one answer as they are written, in its turn and within the limits.

        It counts as far as it came, also when nobody reads it to its end.

        Args:
            request: What is asked.
            cancel: Stops it between two pieces.
            heard: Told once of what was written and used, or of the failure; not when it was
                stopped before the server began to answer.

        Raises:
            TeacherError: In any of its forms.
            Cancelled: After `cancel`.
        """
        answer = Streamed(request.key, self.config.model)
        try:
            async with self._turn(request) as settle:
                opened = await self._first_that_answers(partial(self._open_stream, request))
                answer.is_open = True
                try:
                    async for chunk in opened[1]:
                        if cancel is not None:
                            cancel.raise_if_cancelled()
                        if piece := answer.take(chunk):
                            yield piece
                    if piece := answer.rest():
                        yield piece
                finally:
                    settle(answer.reply())
                    await opened[0].aclose()
        except TeacherError as err:
            answer.error = err
            raise
        finally:
            if answer.is_open or answer.error:
                heard(answer.reply())

    # -- beyond ChatModel -----------------------------------------------------------------

    async def list_models(self) -> list[str]:
        """Ids of the models that the first URL which answers offers, sorted.

        Raises:
            TeacherError: In any of its forms.
        """
        data = await self._first_that_answers(self._models_at)
        models = data.get("data", data.get("models")) if isinstance(data, dict) else data
        if not isinstance(models, list):
            raise errors.malformed(
                self.config, "no list of models", json.dumps(data).encode(), self._api_key
            )
        ids = (m.get("id") or m.get("name") if isinstance(m, dict) else m for m in models)
        return sorted({str(i) for i in ids if i})

    async def ask(self, request: ChatRequest) -> ChatReply:
        """One request, one attempt: it fails when no URL serves it.

        Raises:
            TeacherError: In any of its forms.
        """

        async def at(endpoint: Endpoint) -> ChatReply:
            await endpoint.hold_back()
            if endpoint.is_vllm is None and (request.raw or request.sampling.top_logprobs):
                await self._learn(endpoint)
            return await self._ask_at(endpoint, request)

        reply: ChatReply = await self._first_that_answers(at)
        return reply

    def path(self, request: ChatRequest) -> str:
        """Where a request is sent, below the base URL."""
        return wire.path_of(request)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The JSON that is sent for a request (vLLM is asked for token ids as well)."""
        return wire.body_of(request, self.config.model, refused=self._refused)

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        await self._endpoints.aclose()

    # -- one request ----------------------------------------------------------------------

    async def _reply(self, request: ChatRequest) -> ChatReply:
        """The answer, after as many attempts as allowed; else the failure as a reply."""
        started = time.perf_counter()
        try:
            async for attempt in self._attempts():
                with attempt:
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

    def _attempts(self) -> AsyncRetrying:
        """As many attempts as allowed, after failures that may pass."""
        return AsyncRetrying(
            stop=stop_after_attempt(self.config.max_retries + 1),
            wait=_wait_s,
            retry=retry_if_exception(
                lambda err: isinstance(err, TeacherError) and err.is_retryable
            ),
            reraise=True,
        )

    async def _attempt(self, request: ChatRequest) -> ChatReply:
        """Ask in its turn and within the limits; counts tokens and cost."""
        async with self._turn(request) as settle:
            reply = await self.ask(request)
            settle(reply)
            return reply

    @asynccontextmanager
    async def _turn(self, request: ChatRequest) -> AsyncIterator[Callable[[ChatReply], None]]:
        """A request's turn, with its cost set aside; what is yielded counts what it really used.

        Raises:
            TeacherSpendLimit: Nothing is left to spend.
        """
        prompt_tokens = _prompt_tokens(request)
        async with self.spending.reserve(prompt_tokens, request.sampling.max_tokens):
            guess = self._answer_tokens or min(request.sampling.max_tokens, _FIRST_GUESS)
            reserved = prompt_tokens + guess
            await self._turns.wait(reserved)
            yield lambda reply: self._turns.settle(reserved, self._count(request, reply))

    def _count(self, request: ChatRequest, reply: ChatReply) -> float:
        """Count the cost; returns the tokens, guessed from the text where the server is silent."""
        read, written = reply.prompt_tokens, reply.completion_tokens
        if read is None:
            read = _prompt_tokens(request)
        if written is None:
            written = tokens_in(len(reply.text) + len(reply.reasoning))
        self.spending.add(read, written)
        before = self._answer_tokens
        self._answer_tokens = (
            float(written) if before is None else before + _NEWEST_WEIGHT * (written - before)
        )
        return read + written

    async def _first_that_answers(self, call: Any) -> Any:  # noqa: ANN401  (async function, its result)
        """`call(endpoint)` at one URL after the other until one answers."""
        tried: list[Endpoint] = []
        failed: TeacherError | None = None
        while (endpoint := self._endpoints.next_after(tried, failed)) is not None:
            tried.append(endpoint)
            try:
                result = await call(endpoint)
            except TeacherError as err:
                if not endpoint.note_failure(err):
                    raise
                if failed is None or (err.is_retryable and not failed.is_retryable):
                    failed = err
            else:
                endpoint.note_answer()
                return result
        raise failed or TeacherError(f"{self.name} has no address.")

    async def _ask_at(self, endpoint: Endpoint, request: ChatRequest) -> ChatReply:
        import openai

        started = time.perf_counter()
        config = endpoint.config
        is_vllm = bool(endpoint.is_vllm)
        body = wire.body_of(request, config.model, refused=self._refused, is_vllm=is_vllm)
        try:
            response = await self._post(endpoint, wire.path_of(request), body)
        except openai.APIError as err:
            refused = errors.refused_parameter(err, body)
            if refused in wire.ADAPTABLE:
                self._refused.add(refused)
                return await self._ask_at(endpoint, request)
            raise errors.translate(err, config, self._api_key, is_raw=bool(request.raw)) from err
        reply = wire.reply_from(request, self._json(config, response), config.model)
        if reply is None:
            raise errors.malformed(config, "no chat completion", response.content, self._api_key)
        left_out = wire.left_out(request, self._refused)
        return reply.model_copy(
            update={
                "latency_ms": 1000 * (time.perf_counter() - started),
                "extra": {"left_out": left_out} if left_out else {},
            }
        )

    # -- inside ---------------------------------------------------------------------------

    async def _post(self, endpoint: Endpoint, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401
        """The server's response to a body below its base URL.

        Raises:
            openai.APIError: Anything but a 2xx, or no connection.
            TeacherUnreachable: Not within the time-out.
        """
        try:
            with endpoint.client(self._api_key) as client:
                async with asyncio.timeout(endpoint.config.timeout_s):
                    return await client.post(
                        path, cast_to=httpx2.Response, body=body, options={"headers": self._headers}
                    )
        except TimeoutError as err:
            raise errors.timed_out(endpoint.config) from err

    async def _learn(self, endpoint: Endpoint) -> None:
        """Find out whether vLLM answers there; asked once, however many requests want to know."""
        task = endpoint.learning
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = endpoint.learning = asyncio.create_task(self._is_vllm(endpoint))
        endpoint.is_vllm = await asyncio.shield(task)

    async def _is_vllm(self, endpoint: Endpoint) -> bool | None:
        try:
            return wire.is_vllm_list(await self._models_at(endpoint))
        except TeacherUnreachable:  # perhaps it still loads: the next request asks again
            endpoint.learning = None
            return None
        except TeacherError:  # it lists no models; the request itself will say what is wrong
            return False

    async def _models_at(self, endpoint: Endpoint) -> Any:  # noqa: ANN401  (any JSON value)
        import openai

        config = endpoint.config
        try:
            async with new_client(config, self._api_key, reach=endpoint.reach) as client:
                async with asyncio.timeout(config.timeout_s):
                    response = await client.get(
                        "/models", cast_to=httpx2.Response, options={"headers": self._headers}
                    )
        except TimeoutError as err:
            raise errors.timed_out(config) from err
        except openai.APIError as err:
            raise errors.translate(err, config, self._api_key) from err
        return self._json(config, response)

    async def _open_stream(
        self, request: ChatRequest, endpoint: Endpoint
    ) -> tuple[AsyncExitStack, AsyncIterator[Any]]:
        """The chunks of an answer, and what they come through, to be closed by the caller."""
        import openai

        config = endpoint.config
        await endpoint.hold_back()
        body = self.body(request) | {"stream": True}
        if "stream_options" not in self._refused:  # else most servers do not say what they count
            body |= {"stream_options": {"include_usage": True}}
        async with AsyncExitStack() as stack:
            client = new_client(config, self._api_key, reach=endpoint.reach)
            stack.push_async_callback(client.close)
            part: Any = client.completions if request.raw else client.chat.completions
            try:
                chunks = await part.create(**body, extra_headers=self._headers)
            except openai.APIError as err:
                refused = errors.refused_parameter(err, body)
                if refused not in wire.ADAPTABLE:
                    raise errors.translate(
                        err, config, self._api_key, is_raw=bool(request.raw)
                    ) from err
            else:
                return stack.pop_all(), self._translated(config, chunks)
        self._refused.add(refused)
        return await self._open_stream(request, endpoint)

    async def _translated(
        self, config: TeacherConfig, chunks: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        import openai

        try:
            async for chunk in chunks:
                yield chunk
        except openai.APIError as err:
            raise errors.translate(err, config, self._api_key) from err
        except (httpx2.HTTPError, ValueError) as err:  # cut off, or no JSON
            raise errors.malformed(
                config, "a broken stream", str(err).encode(), self._api_key
            ) from err

    def _json(self, config: TeacherConfig, response: Any) -> Any:  # noqa: ANN401  (any JSON value)
        try:
            return json.loads(response.content)
        except ValueError as err:
            raise errors.malformed(
                config, "something that is not JSON", response.content, self._api_key
            ) from err


def _wait_s(state: RetryCallState) -> float:
    """What the server asked for, else back-off with jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, TeacherRateLimited) else None
    return _back_off(state) if asked is None else asked


def _prompt_tokens(request: ChatRequest) -> int:
    return tokens_in(len(request.raw) + sum(len(m.content) for m in request.messages))
