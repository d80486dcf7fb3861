"""How likely a vLLM server finds the tokens of a prompt: the K likeliest ids at each place.

Start at `PromptScorer.score`. A prompt goes out as token ids, so no tokenizer stands between; one
token is generated and thrown away, because vLLM refuses to generate none. What comes back is at
temperature 1 whatever is asked for. Of each place it holds the K likeliest ids and, beside them,
the id that stands there; the first place has nothing before it and so holds nothing. Prefix
caching and chunked prefill are the server's own business: with `prompt_logprobs` it computes
every place anew. Source: vllm 0.32, v1/worker/gpu_model_runner.py and logprobs.py.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from distill_studio.core.errors import (
    TeacherContextTooLong,
    TeacherError,
    TeacherMalformedReply,
)
from distill_studio.teachers import openai_errors as errors
from distill_studio.teachers.endpoints import Endpoint
from distill_studio.teachers.openai_compatible import OpenAIChatModel

_PATH, _FIELD = "/completions", "prompt_logprobs"
_NO_ROOM = "max_tokens must be at least 1"  # said of a prompt as long as the context
_POLL_S = 0.2  # how soon a stop is noticed
_LIMIT = re.compile(r"logprobs of (?P<asked>\d+).{0,80}max allowed: (?P<most>\d+)", re.DOTALL)

Place = list[tuple[int, float]]  # (id, log-probability), likeliest first


class TooManyLogprobs(TeacherError):
    """The server gives fewer log-probabilities per place than were asked for."""

    code = "max_logprobs"


@dataclass(frozen=True)
class Prompt:
    """Token ids to read, under a number of the caller's."""

    number: int
    ids: Sequence[int]


@dataclass(frozen=True)
class Scored:
    """What a prompt's places hold: as many as it has tokens, the first of them empty."""

    number: int
    places: list[Place]


class PromptScorer(OpenAIChatModel):
    """Reads prompts on a vLLM server, a bounded number at a time.

    Connections, retries, limits and spending are those of any teacher.
    """

    async def score(
        self, prompts: Iterable[Prompt], k: int, check_stop: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[Scored, None]:
        """Every prompt once, as replies arrive; prompts are pulled only when sent.

        Args:
            prompts: Of two tokens or more.
            k: Ids per place.
            check_stop: Called several times a second; may raise to stop.

        Raises:
            TeacherError: A prompt failed for good; replies before it have been given.
        """
        pending = iter(prompts)
        in_flight: set[asyncio.Task[Scored]] = set()
        try:
            while True:
                for prompt in islice(pending, self.config.concurrency - len(in_flight)):
                    in_flight.add(asyncio.create_task(self._scored(prompt, k)))
                if not in_flight:
                    return
                done, in_flight = await asyncio.wait(
                    in_flight, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED
                )
                # Whole replies first: the caller keeps them before a failure ends the round.
                for task in sorted(done, key=lambda each: each.exception() is not None):
                    yield task.result()
                check_stop()
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)

    async def ids_of(self, text: str, k: int) -> list[int]:
        """The ids into which the server cuts `text`; asked with K log-probabilities, as `score`.

        Raises:
            TooManyLogprobs: It gives fewer than K.
            TeacherError: In any of its forms; also where the server is no vLLM.
        """
        data = await self._first_that_answers(partial(self._ask_prompt, text, k))
        found: list[int] = self._choice(data)["prompt_token_ids"]
        return found

    async def context(self) -> int:
        """Tokens that the server's model takes, prompt and answer together; 0 when untold.

        Raises:
            TeacherError: In any of its forms.
        """
        data = await self._first_that_answers(self._models_at)
        models = data.get("data") if isinstance(data, dict) else None
        for model in models if isinstance(models, list) else []:
            if isinstance(model, dict) and model.get("id") == self.config.model:
                found = model.get("max_model_len")
                return found if isinstance(found, int) else 0
        return 0

    # -- inside ---------------------------------------------------------------------------

    async def _scored(self, prompt: Prompt, k: int) -> Scored:
        async for attempt in self._attempts():
            with attempt:
                return Scored(prompt.number, await self._places(prompt, k))
        raise AssertionError("tenacity ends with a result or an exception")

    async def _places(self, prompt: Prompt, k: int) -> list[Place]:
        """Ask in its turn and within the limits."""
        tokens = len(prompt.ids)
        async with self.spending.reserve(tokens, 1):
            await self._turns.wait(tokens + 1)
            data = await self._first_that_answers(partial(self._ask_prompt, list(prompt.ids), k))
            self.spending.add(tokens, 1)
        choice = self._choice(data)
        if choice["prompt_token_ids"] != list(prompt.ids):
            raise TeacherMalformedReply(
                f"{self.name} read other tokens than it was sent.",
                "Look for an option of the server that cuts or changes prompts.",
            )
        return [self._place(found, number, k) for number, found in enumerate(choice[_FIELD])]

    async def _ask_prompt(self, prompt: str | list[int], k: int, endpoint: Endpoint) -> Any:  # noqa: ANN401
        import openai

        body = {
            "model": self.config.model,
            "prompt": prompt,
            "add_special_tokens": False,
            "max_tokens": 1,
            "temperature": 0.0,
            _FIELD: k,
            "return_token_ids": True,
        }
        await endpoint.hold_back()
        try:
            response = await self._post(endpoint, _PATH, body)
        except openai.APIError as err:
            found = _LIMIT.search(err.message)
            if found:
                raise TooManyLogprobs(
                    f"{self.name} gives {found['most']} log-probabilities per token at most,"
                    f" {found['asked']} were asked for.",
                    f"Start it with --max-logprobs {found['asked']} or more, or keep"
                    f" {found['most']} ids per token.",
                ) from err
            if isinstance(err, openai.NotFoundError) and "model" not in err.message.lower():
                raise self._is_no_vllm("it has no /completions (404)") from err
            told = errors.translate(err, endpoint.config, self._api_key)
            if isinstance(told, TeacherContextTooLong) or _NO_ROOM in err.message:
                raise TeacherContextTooLong(
                    f"A row of {len(prompt)} tokens and one more do not fit {self.name}.",
                    "Lower the longest length, or start the server with a higher --max-model-len.",
                ) from err
            raise told from err
        return self._json(endpoint.config, response)

    def _choice(self, data: Any) -> dict[str, Any]:  # noqa: ANN401  (any JSON value)
        """The one answer, with its prompt's ids and a list as long of what its places hold."""
        choices = data.get("choices") if isinstance(data, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            raise self._is_no_vllm("its reply is no completion")
        ids, places = choice.get("prompt_token_ids"), choice.get(_FIELD)
        if not isinstance(ids, list) or not isinstance(places, list):
            raise self._is_no_vllm("it gave no log-probabilities of the prompt")
        if len(ids) != len(places):
            raise TeacherMalformedReply(
                f"{self.name} told {len(places)} places of a prompt of {len(ids)} tokens."
            )
        return choice

    def _place(self, found: Any, number: int, k: int) -> Place:  # noqa: ANN401  (any JSON value)
        """The K likeliest of one place.

        The id that stands there comes along even where it is none of them: sorting and cutting
        leaves it out, also where it ties with the last.
        """
        if found is None and number == 0:
            return []
        try:
            place = [(int(i), float(one["logprob"])) for i, one in found.items()]
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            raise self._malformed_place(number) from err
        if len(place) < k or any(math.isnan(value) or value > 1e-3 for _, value in place):
            raise self._malformed_place(number)
        place.sort(key=lambda each: -each[1])
        return place[:k]

    def _malformed_place(self, number: int) -> TeacherMalformedReply:
        return TeacherMalformedReply(
            f"{self.name} sent no usable log-probabilities for token {number + 1} of a prompt.",
            "Look at the server's log; --logprobs-mode must be one that gives log-probabilities.",
        )

    def _is_no_vllm(self, why: str) -> TeacherError:
        return TeacherError(
            f"{self.name} cannot be asked for the probabilities of given tokens: {why}.",
            "Only vLLM's own server does that. Choose one, or a model of this machine.",
        )
