"""Ask a teacher one short question, at each of its addresses. Start from `tested`."""

import asyncio
import time
from collections.abc import Mapping
from difflib import get_close_matches

from pydantic import Field

from distill_studio.core.errors import StudioError, TeacherError, TeacherUnknownModel
from distill_studio.core.protocols import ChatModel, ChatReply, ChatRequest, SamplingParams
from distill_studio.core.records import Message, Record
from distill_studio.teachers.openai_compatible import OpenAIChatModel

_SAMPLE = 300  # characters
_REQUEST = ChatRequest(
    key="test",
    messages=(
        Message(
            role="user",
            content="Reply with one short sentence: which city is the capital of France?",
        ),
    ),
    sampling=SamplingParams(temperature=0.0, max_tokens=64),
)


class UrlTest(Record):
    """What came of asking one address."""

    url: str = Field(description="Which; '' for a model of this machine.")
    ok: bool = Field(description="It answered.")
    code: str = Field(default="", description="`code` of the error; '' when well.")
    message: str = Field(description="What happened, in the user's words.")
    hint: str = Field(default="", description="What to do about it.")
    latency_ms: float | None = Field(default=None, description="Until the whole answer was there.")
    sample: str = Field(default="", description="What it answered, shortened.")


class TeacherTest(Record):
    """What came of asking a teacher one short question."""

    ok: bool = Field(description="It answered, at one address at least.")
    code: str = Field(default="", description="`code` of the error; '' when well.")
    message: str = Field(description="What happened, in the user's words.")
    hint: str = Field(default="", description="What to do about it.")
    latency_ms: float | None = Field(default=None, description="Until the whole answer was there.")
    sample: str = Field(default="", description="What it answered, shortened.")
    urls: tuple[UrlTest, ...] = Field(default=(), description="Each address, the main one first.")


def failed(err: StudioError) -> TeacherTest:
    """The test of a teacher that cannot be asked at all."""
    return TeacherTest(ok=False, code=err.code, message=err.user_message, hint=err.hint)


def tested(models: Mapping[str, ChatModel]) -> TeacherTest:
    """Ask every address at once.

    Args:
        models: Address -> the teacher there alone; '' -> a model of this machine.
    """
    found = asyncio.run(_all(models))
    well = [each for each in found if each.ok]
    first = (well or found)[0]
    message = first.message
    if len(found) > 1:
        message = f"{len(well)} of {len(found)} addresses answer{'s' * (len(well) == 1)}."
        message = message if well else f"None of {len(found)} addresses answers."
    return TeacherTest(
        **first.model_dump(exclude={"url", "message"}),
        message=message,
        urls=tuple(each for each in found if each.url),
    )


async def _all(models: Mapping[str, ChatModel]) -> list[UrlTest]:
    return await asyncio.gather(*(_one(url, model) for url, model in models.items()))


async def _one(url: str, model: ChatModel) -> UrlTest:
    started = time.perf_counter()
    try:
        reply = await _ask(model)
    except StudioError as err:
        return UrlTest(url=url, ok=False, code=err.code, message=err.user_message, hint=err.hint)
    if not reply.is_ok:
        return UrlTest(url=url, ok=False, code=reply.error_code, message=reply.error)
    said = " ".join((reply.text or reply.reasoning).split())
    return UrlTest(
        url=url,
        ok=True,
        message=f"{reply.model} answers.",
        latency_ms=reply.latency_ms or 1000 * (time.perf_counter() - started),
        sample=said[:_SAMPLE],
    )


async def _ask(model: ChatModel) -> ChatReply:
    if not isinstance(model, OpenAIChatModel):
        async for reply in model.generate([_REQUEST]):
            return reply
        raise TeacherError(f"{model.name} gave no reply.")
    try:
        return await model.ask(_REQUEST)
    except TeacherUnknownModel as err:
        raise TeacherUnknownModel(err.user_message, await _offers(model) or err.hint) from err
    finally:
        await model.aclose()


async def _offers(model: OpenAIChatModel) -> str:
    """What the server has instead of a model that it does not know; '' when it does not say."""
    try:
        ids = await model.list_models()
    except TeacherError:
        return ""
    near = get_close_matches(model.config.model, ids, n=3, cutoff=0.4) or ids[:3]
    return f"It offers {len(ids)} models, among them: {', '.join(near)}." if ids else ""
