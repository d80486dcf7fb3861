"""The settings of the filters as widgets, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill_studio.curate.filters import (
    AnyFilter,
    ContaminatedConfig,
    LengthConfig,
    RefusalConfig,
    RepetitionConfig,
    WellFormedConfig,
)

_LENGTHS = (
    (1, "Fewest words", "min-words"),
    (0, "Most words, 0 = any", "max-words"),
    (1, "Fewest characters", "min-characters"),
    (20_000, "Most characters, 0 = any", "max-characters"),
)


@dataclass(frozen=True)
class FilterForm:
    """The widgets in a fixed order; `read` and `fill` go from values to settings and back."""

    widgets: list[Any]

    def read(self, values: Sequence[Any]) -> list[AnyFilter]:
        """Settings from the widgets' values."""
        leaks_on, empty, code, length_on, *lengths, cut, loops_on, loops, refusal_on, strict = (
            values
        )
        min_words, max_words, min_characters, max_characters = (int(n or 0) for n in lengths)
        return [
            ContaminatedConfig(is_on=bool(leaks_on)),
            WellFormedConfig(drop_empty=bool(empty), drop_unclosed_code=bool(code)),
            LengthConfig(
                is_on=bool(length_on),
                min_words=min_words,
                max_words=max_words,
                min_characters=min_characters,
                max_characters=max_characters,
                drop_truncated=bool(cut),
            ),
            RepetitionConfig(is_on=bool(loops_on), max_score=float(loops)),
            RefusalConfig(is_on=bool(refusal_on), strictness=strict),
        ]

    def fill(self, filters: Sequence[AnyFilter]) -> list[Any]:
        """Values of the widgets from settings; a filter that is missing counts as off."""
        by_kind: dict[str, Any] = {config.kind: config for config in filters}
        leaks = by_kind.get("contaminated") or ContaminatedConfig()
        form = by_kind.get("well_formed") or WellFormedConfig(is_on=False)
        length = by_kind.get("length") or LengthConfig(is_on=False)
        loops = by_kind.get("repetition") or RepetitionConfig(is_on=False)
        refusal = by_kind.get("refusal") or RefusalConfig(is_on=False)
        return [
            leaks.is_on,
            form.is_on and form.drop_empty,
            form.is_on and form.drop_unclosed_code,
            length.is_on,
            length.min_words,
            length.max_words,
            length.min_characters,
            length.max_characters,
            length.drop_truncated,
            loops.is_on,
            loops.max_score,
            refusal.is_on,
            refusal.strictness,
        ]


def build_filter_form() -> FilterForm:
    """Make the widgets."""
    leaks_on = gr.Checkbox(
        True,
        label="Drop benchmark leaks",
        info="What the check under Benchmark leaks found.",
        elem_id="curate-leaks-on",
    )
    with gr.Row():
        empty = gr.Checkbox(True, label="Drop empty answers", elem_id="curate-empty-answers")
        code = gr.Checkbox(True, label="Drop unclosed code", elem_id="curate-unclosed")
    length_on = gr.Checkbox(True, label="Length", elem_id="curate-length")
    with gr.Row():
        lengths = [
            gr.Number(value, label=label, minimum=0, precision=0, elem_id=f"curate-{name}")
            for value, label, name in _LENGTHS
        ]
    cut = gr.Checkbox(True, label="Drop answers cut off by the token limit", elem_id="curate-cut")
    loops_on = gr.Checkbox(True, label="Repetition", elem_id="curate-repetition")
    loops = gr.Slider(
        0.5,
        6,
        2,
        step=0.1,
        label="How much repetition is allowed",
        info="1 = the limits of the Gopher paper for web pages; songs and lists need more.",
        elem_id="curate-repetition-max",
    )
    refusal_on = gr.Checkbox(True, label="Refusals", elem_id="curate-refusal")
    strict = gr.Radio(
        [
            ("Refusals and remarks such as “as an AI”", "refusals_and_remarks"),
            ("Only refusals", "refusals"),
        ],
        value="refusals_and_remarks",
        show_label=False,
        elem_id="curate-refusal-strictness",
    )
    return FilterForm([
        leaks_on,
        empty,
        code,
        length_on,
        *lengths,
        cut,
        loops_on,
        loops,
        refusal_on,
        strict,
    ])
