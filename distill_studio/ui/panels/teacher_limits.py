"""The part of the teacher form on more addresses, limits and cost. Start from `build_limits`."""

import math
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import TeacherConfig
from distill_studio.services.teacher_costs import TeacherPrice

_NO_LIMIT = "0 = no limit"


@dataclass(frozen=True)
class LimitParts:
    """The components, in the order that `limits_from` reads them."""

    urls: gr.Textbox
    requests_per_min: gr.Number
    tokens_per_min: gr.Number
    spend_limit: gr.Number
    price_in: gr.Textbox
    price_out: gr.Textbox

    @property
    def fields(self) -> list[Any]:
        """All of them."""
        return [getattr(self, field.name) for field in fields(self)]


def build_limits() -> LimitParts:
    """Make the accordion."""
    with gr.Accordion("Limits and cost", open=False, elem_id="generate-limits"):
        urls = gr.Textbox(
            label="More addresses",
            placeholder="http://127.0.0.1:8001/v1",
            info="One a line, of servers with the same model. Requests are shared out; one that"
            " fails is left out for a while. The key is sent there too.",
            lines=2,
            elem_id="generate-urls",
        )
        with gr.Row():
            requests = _number("Requests a minute", _NO_LIMIT, "generate-requests-per-min", 0)
            tokens = _number("Tokens a minute", _NO_LIMIT, "generate-tokens-per-min", 0)
            spend = _number(
                "Spend limit, USD", f"Per generation; {_NO_LIMIT}", "generate-spend-limit", None
            )
        with gr.Row():
            price_in = _price("USD per million tokens read", "generate-price-in")
            price_out = _price("USD per million tokens written", "generate-price-out")
    return LimitParts(urls, requests, tokens, spend, price_in, price_out)


def limits_from(
    urls: str = "",
    requests_per_min: float | None = 0,
    tokens_per_min: float | None = 0,
    spend_limit: float | None = 0,
    price_in: str | None = "",
    price_out: str | None = "",
) -> dict[str, Any]:
    """The fields of a `TeacherConfig` that the components describe.

    Raises:
        InvalidInput: A price is no number.
    """
    return {
        "base_urls": tuple(line.strip() for line in (urls or "").splitlines() if line.strip()),
        "requests_per_min": int(requests_per_min or 0),
        "tokens_per_min": int(tokens_per_min or 0),
        "spend_limit_usd": float(spend_limit or 0),
        "price_in": _usd(price_in),
        "price_out": _usd(price_out),
    }


def limit_values(teacher: TeacherConfig) -> tuple[Any, ...]:
    """What the components show of a saved teacher."""
    return (
        "\n".join(teacher.base_urls),
        teacher.requests_per_min,
        teacher.tokens_per_min,
        teacher.spend_limit_usd,
        "" if teacher.price_in is None else f"{teacher.price_in:g}",
        "" if teacher.price_out is None else f"{teacher.price_out:g}",
    )


def price_words(price: TeacherPrice) -> str:
    """What a teacher costs, in one sentence."""
    if not price.is_known:
        return "Its price is not known: give it under Limits and cost to see costs."
    if not (price.usd_in or price.usd_out):
        return "Its answers cost nothing."
    stand = f" ({price.source}{', ' if price.as_of else ''}{price.as_of})"
    return (
        f"It costs {price.usd_in:g} USD per million tokens read and {price.usd_out:g} written"
        f"{stand}."
    )


def _number(label: str, info: str, elem_id: str, precision: int | None) -> gr.Number:
    return gr.Number(0, label=label, info=info, minimum=0, precision=precision, elem_id=elem_id)


def _price(label: str, elem_id: str) -> gr.Textbox:
    """A text field: a `gr.Number` cannot be empty, and 0 is a price."""
    return gr.Textbox(label=label, info="Empty = by the price table.", elem_id=elem_id)


def _usd(text: str | None) -> float | None:
    text = (text or "").strip().replace(",", ".").removeprefix("$")
    if not text:
        return None
    try:
        usd = float(text)
    except ValueError as err:
        raise InvalidInput(f"'{text}' is no price.", "Give a number such as 0.25.") from err
    if not 0 <= usd < math.inf:
        raise InvalidInput(f"'{text}' is no price.", "Give a number such as 0.25.")
    return usd
