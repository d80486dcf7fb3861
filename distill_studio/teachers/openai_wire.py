"""What goes to an OpenAI-compatible server and what its answer means. Pure: no network.

Start at `body_of` and `reply_from`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from distill_studio.core.protocols import ChatReply, ChatRequest, TokenLogprobs
from distill_studio.teachers.answer_text import split_reasoning

CHAT, CONTINUE = "/chat/completions", "/completions"
ADAPTABLE = frozenset(
    {"max_tokens", "temperature", "top_p", "seed", "stop", "response_format", "logprobs"}
    | {"stream_options", "return_tokens_as_token_ids", "add_special_tokens"}
)
# A server whose template opened `<think>` in the prompt leaves a closing tag on a line of its own.
_CLOSING_LINE = re.compile(r"(?:^|\n)[ \t]*</think>[ \t]*(?:\n|$)")
_TOKEN_ID = re.compile(r"token_id:(\d+)")
# Texts by which models begin: where one is there already, vLLM must not put its own before it.
_BEGINNINGS = (
    "<s>",
    "<bos>",
    "<|begin_of_text|>",
    "<|startoftext|>",
    "<|endoftext|>",
    "<｜begin▁of▁sentence｜>",
    "[gMASK]",
)


def path_of(request: ChatRequest) -> str:
    """Where a request is sent, below the base URL."""
    return CONTINUE if request.raw else CHAT


def body_of(
    request: ChatRequest, model: str, *, refused: Collection[str] = (), is_vllm: bool = False
) -> dict[str, Any]:
    """The JSON that is sent for a request.

    Args:
        request: What is asked.
        model: As the server names it.
        refused: Parameters that this model does not take; they are left out.
        is_vllm: The server is known to be vLLM, which gives token ids too when asked.
    """
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
    if request.response_schema is not None:
        fields["response_format"] = _response_format(request.response_schema)
    fields |= _logprob_fields(request, is_vllm)
    if is_vllm and request.raw.startswith(_BEGINNINGS):
        fields["add_special_tokens"] = False
    if "max_tokens" in refused:  # newer OpenAI models want it under another name
        fields["max_completion_tokens"] = sampling.max_tokens
    if "logprobs" in refused:
        fields = {k: v for k, v in fields.items() if k not in _LOGPROB_FIELDS}
    asked: dict[str, Any] = (
        {"prompt": request.raw}
        if request.raw
        else {"messages": [m.model_dump() for m in request.messages]}
    )
    kept = {name: value for name, value in fields.items() if name not in refused}
    return {"model": model, **asked, **kept}


def left_out(request: ChatRequest, refused: Collection[str]) -> list[str]:
    """What the request wanted and this model does not take, sorted."""
    wanted = {"max_tokens", "temperature", "top_p", "add_special_tokens"}
    wanted |= {"stop"} if request.sampling.stop else set()
    wanted |= {"seed"} if request.sampling.seed is not None else set()
    wanted |= {"response_format"} if request.response_schema is not None else set()
    wanted |= {"logprobs", "return_tokens_as_token_ids"} if request.sampling.top_logprobs else set()
    return sorted(wanted & set(refused))


def reply_from(request: ChatRequest, data: Any, model: str) -> ChatReply | None:  # noqa: ANN401
    """The reply that a server's JSON holds; None where it is no completion.

    Args:
        request: What was asked.
        data: Any JSON value.
        model: Named where the server names none.
    """
    choices = data.get("choices") if isinstance(data, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return None
    # A continuation is read like a message that holds nothing but text.
    message = {"content": choice.get("text")} if request.raw else choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(content, str | None):
        return None
    if request.raw and content is None:
        return None
    reasoning, answer = _split(request, content or "")
    apart = message.get("reasoning_content") or message.get("reasoning")
    usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
    return ChatReply(
        key=request.key,
        text=answer,
        reasoning=apart if isinstance(apart, str) else reasoning,
        model=str(data.get("model") or model),
        finish_reason=str(choice.get("finish_reason") or ""),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        logprobs=_logprobs_in(choice, request.sampling.top_logprobs),
    )


def is_vllm_list(data: Any) -> bool:  # noqa: ANN401  (any JSON value)
    """True when a list of models says that vLLM serves them."""
    models = data.get("data") if isinstance(data, dict) else None
    if not isinstance(models, list):
        return False
    return any(isinstance(m, dict) and m.get("owned_by") == "vllm" for m in models)


# -- requests -----------------------------------------------------------------------------

_LOGPROB_FIELDS = ("logprobs", "top_logprobs", "return_tokens_as_token_ids")


def _logprob_fields(request: ChatRequest, is_vllm: bool) -> dict[str, Any]:
    count = request.sampling.top_logprobs
    if not count:
        return {}
    fields: dict[str, Any] = (
        {"logprobs": count} if request.raw else {"logprobs": True, "top_logprobs": count}
    )
    return fields | ({"return_tokens_as_token_ids": True} if is_vllm else {})


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", str(schema.get("title") or "answer"))[:64]
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": schema, "strict": True},
    }


# -- replies ------------------------------------------------------------------------------


def _split(request: ChatRequest, text: str) -> tuple[str, str]:
    is_open = request.raw.rstrip().endswith("<think>") or (
        "<think>" not in text and bool(_CLOSING_LINE.search(text))
    )
    return split_reasoning(text, is_open=is_open)


def _logprobs_in(choice: dict[str, Any], count: int) -> tuple[TokenLogprobs, ...]:
    """Of the chat form (`content`), or of the older one (parallel lists)."""
    found = choice.get("logprobs")
    if not count or not isinstance(found, dict):
        return ()
    if isinstance(found.get("content"), list):
        entries = [e for e in found["content"] if isinstance(e, dict)]
        return tuple(t for e in entries if (t := _of_entry(e, count)) is not None)
    return _of_lists(found, count)


def _of_entry(entry: dict[str, Any], count: int) -> TokenLogprobs | None:
    logprob = entry.get("logprob")
    if not isinstance(logprob, int | float):
        return None
    text, token_id = _token(entry)
    others = entry.get("top_logprobs")
    top = [
        (*_token(other), float(other["logprob"]))
        for other in (others if isinstance(others, list) else [])
        if isinstance(other, dict) and isinstance(other.get("logprob"), int | float)
    ]
    return TokenLogprobs(
        token=text, token_id=token_id, logprob=float(logprob), top=_likeliest(top, count)
    )


def _token(entry: dict[str, Any]) -> tuple[str, int | None]:
    """Text and id: vLLM writes `token_id:5` instead of the text, llama.cpp an `id` beside it.

    vLLM's `bytes` are the text of the written token, but of the others the same `token_id:5`.
    """
    name = str(entry.get("token") or "")
    if not (found := _TOKEN_ID.fullmatch(name)):
        return name, _count(entry.get("id"))
    return _text_of_bytes(entry.get("bytes")), int(found.group(1))


def _text_of_bytes(data: object) -> str:
    if not isinstance(data, list) or not all(isinstance(b, int) and 0 <= b < 256 for b in data):
        return ""
    text = bytes(data).decode("utf-8", "replace")
    return "" if _TOKEN_ID.fullmatch(text) else text


def _of_lists(found: dict[str, Any], count: int) -> tuple[TokenLogprobs, ...]:
    names, values = found.get("tokens"), found.get("token_logprobs")
    if not isinstance(names, list) or not isinstance(values, list):
        return ()
    others = found.get("top_logprobs")
    tops: Sequence[Any] = others if isinstance(others, list) else [None] * len(names)
    tokens = []
    for name, value, top in zip(names, values, tops, strict=False):
        entry = {"token": name, "logprob": value}
        if isinstance(top, dict):
            entry["top_logprobs"] = [{"token": t, "logprob": v} for t, v in top.items()]
        token = _of_entry(entry, count)
        if token is not None:
            tokens.append(token)
    return tuple(tokens)


def _likeliest(
    top: list[tuple[str, int | None, float]], count: int
) -> tuple[tuple[str, int | None, float], ...]:
    return tuple(sorted(top, key=lambda each: -each[2])[:count])


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
