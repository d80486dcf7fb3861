"""What an OpenAI-compatible server can answer wrongly, in the words of `TeacherError`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from distill_studio.core.characters import whole
from distill_studio.core.errors import (
    TeacherAddressRefused,
    TeacherContextTooLong,
    TeacherError,
    TeacherMalformedReply,
    TeacherRateLimited,
    TeacherUnauthorised,
    TeacherUnknownModel,
    TeacherUnreachable,
)
from distill_studio.core.records import TeacherConfig
from distill_studio.teachers.guarded_transport import NotReached

if TYPE_CHECKING:
    import openai

_LONGEST_QUOTE = 300
REFUSED_HINT = (
    "Whoever runs the app can allow it: DISTILL_STUDIO_ALLOW_HOSTS takes hosts, addresses and"
    " networks, separated by commas."
)
LONGEST_WAIT_S = 300.0  # a server that asks for more has closed for today
_CONTEXT = re.compile(
    r"context[ _](length|window|size)|maximum context|max_model_len|too many tokens"
    r"|prompt is too long|exceeds? .{0,40}tokens",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"insufficient_quota|exceeded your current quota|billing", re.IGNORECASE)
# Statuses with which servers refuse a parameter.
_REFUSALS = (400, 403, 422, 501)
_OPTIONAL = {
    "response_format": re.compile(r"response.?format|json.?schema|guided|structured.?output"),
    "return_tokens_as_token_ids": re.compile(r"return_tokens_as_token_ids"),
    "logprobs": re.compile(r"logprobs"),
    "stream_options": re.compile(r"stream.?options|include_usage"),
    "add_special_tokens": re.compile(r"add_special_tokens"),
}
_UNSUPPORTED = re.compile(r"unsupported (?:parameter|value):? *['\"`]?(\w+)")
_UNKNOWN = re.compile(
    r"(?:unrecognized|unknown) (?:request )?(?:argument|parameter|field)s?(?: supplied)?:? *"
    r"\\?['\"`]?(\w+)"
)
_NO_MODEL = re.compile(r"model", re.IGNORECASE)


def translate(
    err: openai.APIError, config: TeacherConfig, api_key: str, *, is_raw: bool = False
) -> TeacherError:
    """The TeacherError that tells `err`; a key echoed by the server is blanked.

    `is_raw`: the request was raw text to continue, which not every server does.
    """
    import openai

    if isinstance(err, openai.APITimeoutError):
        return timed_out(config)
    if isinstance(err, openai.APIConnectionError):
        return _unreachable(err, config)
    if isinstance(err, openai.APIStatusError):
        said = quote(_said(err), api_key)
        if is_raw and err.status_code in (404, 405) and not _NO_MODEL.search(said):
            return _no_continuation(config, err.status_code)
        return _from_status(err, config, said)
    return TeacherMalformedReply(
        f"{config.name} broke off its answer: {quote(err.message, api_key) or 'no reason given.'}",
        "Look at the server's log.",
    )


def timed_out(config: TeacherConfig) -> TeacherUnreachable:
    """No whole answer within the teacher's time-out."""
    return TeacherUnreachable(
        f"{config.name} did not answer within {config.timeout_s:g} s.",
        "Raise the time-out, lower the number of requests in flight, or ask for shorter answers.",
    )


def malformed(config: TeacherConfig, what: str, content: bytes, api_key: str) -> TeacherError:
    """A reply with status 200 that is no chat completion."""
    said = quote(content[: 4 * _LONGEST_QUOTE].decode("utf-8", "replace"), api_key)
    return TeacherMalformedReply(
        f"{config.name} sent {what}: {said or '(nothing).'}",
        "Check that the address is that of an OpenAI-compatible API (it often ends in /v1).",
    )


def quote(text: str, api_key: str) -> str:
    """A server's words as one short sentence, without the key."""
    if api_key:
        text = text.replace(api_key, "[key]")
    text = " ".join(whole(text).split())
    if len(text) > _LONGEST_QUOTE:
        return f"{text[:_LONGEST_QUOTE]}..."
    return text if not text or text[-1] in ".!?" else f"{text}."


def refused_parameter(err: openai.APIError, sent: Mapping[str, Any]) -> str:
    """The sent parameter that this model refuses to take, or ''.

    Optional ones (a schema, log-probabilities) count as refused when the refusal names them:
    servers word it in many ways, and the answer is worth more than the extra.
    """
    import openai

    if not isinstance(err, openai.APIStatusError) or err.status_code not in _REFUSALS:
        return ""
    said = f"{err.message} {json.dumps(err.body, default=str)}".lower()
    for name, mark in _OPTIONAL.items():
        if name in sent and mark.search(said):
            return name
    if err.status_code == 403:  # of a key, but for OpenAI's log-probabilities above
        return ""
    named = _named_parameter(err, said)
    return named if named in sent else ""


def _named_parameter(err: openai.APIStatusError, said: str) -> str:
    code = (err.code or "").lower() if isinstance(err.code, str) else ""
    is_refusal = code.startswith("unsupported") or "unsupported parameter" in said
    is_refusal = is_refusal or ("does not support" in said and bool(err.param))
    if is_refusal and err.param:
        return str(err.param)
    pattern = _UNKNOWN if not is_refusal else _UNSUPPORTED
    found = pattern.search(said)
    return found.group(1) if found else ""


def _unreachable(err: openai.APIConnectionError, config: TeacherConfig) -> TeacherError:
    cause: BaseException = err
    while cause.__cause__ is not None and not isinstance(cause, NotReached):
        cause = cause.__cause__
    if isinstance(cause, NotReached):
        return TeacherAddressRefused(f"{config.name}: {cause}.", REFUSED_HINT)
    reason = quote(str(cause) or type(cause).__name__, "")
    return TeacherUnreachable(
        f"{config.name} cannot be reached at {config.base_url}: {reason}",
        "Check the address and that the server runs; a server takes a minute or more to load.",
    )


def _from_status(err: openai.APIStatusError, config: TeacherConfig, said: str) -> TeacherError:
    status = err.status_code
    if status in (401, 403):  # the server's words may hold a part of the key: not repeated
        return TeacherUnauthorised(
            f"{config.name} refused the key ({status}).",
            "Give a valid key for this server, or the name of the variable that holds it.",
        )
    if status == 404:
        return _not_found(config, said)
    if status == 429:
        return _rate_limited(err, config, said)
    if status in (400, 413, 422) and (
        err.code == "context_length_exceeded" or _CONTEXT.search(said)
    ):
        return TeacherContextTooLong(
            f"Prompt and answer are too long for {config.model}: {said}",
            "Ask for a shorter answer, or leave this seed out.",
        )
    if status >= 500 or status == 408:
        return TeacherUnreachable(
            f"{config.name} failed inside ({status}): {said or 'no reason given.'}",
            "Look at the server's log; it may be overloaded or still loading its model.",
        )
    if 300 <= status < 400:
        return TeacherError(
            f"{config.name} sends requests on to another address ({status}).",
            "Give the final address itself; a key is not sent along to another one.",
        )
    return TeacherError(
        f"{config.name} refused the request ({status}): {said or 'no reason given.'}",
        "Change what it complains of in the sampling settings or the prompt.",
    )


def _not_found(config: TeacherConfig, said: str) -> TeacherError:
    if _NO_MODEL.search(said):
        return TeacherUnknownModel(
            f"{config.name} does not serve the model {config.model}: {said}",
            "Fetch the model list and pick one of it.",
        )
    return TeacherUnknownModel(
        f"There is no chat API at {config.base_url} (404).",
        "Check the address: it usually ends in /v1. Or the model's name is wrong.",
    )


def _no_continuation(config: TeacherConfig, status: int) -> TeacherError:
    return TeacherError(
        f"{config.name} does not continue raw text: it has no /completions ({status}).",
        "Recipes such as Magpie need vLLM, llama.cpp, Ollama or a model of this machine.",
    )


def _rate_limited(err: openai.APIStatusError, config: TeacherConfig, said: str) -> TeacherError:
    if _QUOTA.search(f"{err.code} {said}"):
        spent = TeacherRateLimited(
            f"{config.name}: the account's quota is used up.", "See to the account, then resume."
        )
        spent.is_retryable = False
        return spent
    wait_s = retry_after_s(err.response.headers, time.time())
    error = TeacherRateLimited(
        f"{config.name} asks to slow down (429): {said or 'too many requests.'}",
        "Lower the number of requests in flight, or resume later.",
        wait_s,
    )
    error.is_retryable = wait_s is None or wait_s <= LONGEST_WAIT_S
    return error


def retry_after_s(headers: Any, now: float) -> float | None:  # noqa: ANN401  (httpx headers)
    """Seconds that a `Retry-After` header (seconds or a date) asks for; None without one."""
    value = headers.get("retry-after-ms", "")
    if value.isdigit():
        return float(value) / 1000
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def _said(err: openai.APIStatusError) -> str:
    """The server's own message, wherever its kind of server puts it."""
    body = err.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict):
            inner = inner.get("message") or inner.get("detail") or inner
        return inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
    return body if isinstance(body, str) else err.message
