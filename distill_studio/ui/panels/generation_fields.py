"""Fields of the Generate form that are the same for every recipe; and what all of them ask for."""

from typing import Any

import gradio as gr
from pydantic import ValidationError

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import SamplingParams
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.store.generation import SeedFilter
from distill_studio.ui.panels.recipe_form import known_recipe, options_from

_LABELS = {
    "temperature": "Temperature",
    "max_tokens": "Longest answer",
    "top_p": "Top p",
    "seed": "Random seed",
    "stop": "Stop at",
    "top_logprobs": "Log-probabilities kept per token",
    "limit": "At most",
}
FIELDS = (  # in the order of the arguments of `asked`
    *("teachers", "recipe", "n", "temperature", "max_tokens", "top_p", "seed", "stop", "system"),
    *("topic", "source", "search", "limit", "only_unanswered", "examples", "top_logprobs", "judge"),
)


def build_how() -> list[Any]:
    """Sampling, system prompt, examples, log-probabilities."""
    n = gr.Slider(
        1,
        16,
        2,
        step=1,
        label="Candidates per seed and teacher",
        visible=False,
        elem_id="generate-n",
    )
    with gr.Row():
        temperature = gr.Slider(
            0, 2, 0.7, step=0.05, label="Temperature", elem_id="generate-temperature"
        )
        max_tokens = gr.Number(
            256,
            label="Longest answer, tokens",
            precision=0,
            elem_id="generate-max-tokens",
        )
    with gr.Accordion("More settings", open=False, elem_id="generate-more"):
        with gr.Row():
            top_p = gr.Slider(0.05, 1, 0.95, step=0.05, label="Top p", elem_id="generate-top-p")
            seed = gr.Number(0, label="Random seed", precision=0, elem_id="generate-seed")
        stop = gr.Textbox(
            label="Stop at", info="One string a line.", lines=1, elem_id="generate-stop-at"
        )
        system = gr.Textbox(
            label="System prompt",
            lines=2,
            elem_id="generate-system",
            info="Put before each seed that has none of its own.",
        )
        examples = gr.Slider(
            0,
            8,
            0,
            step=1,
            label="Examples from people",
            info="So many accepted answers, edited ones first, are shown to the teacher as earlier"
            " turns. They are not part of what is stored.",
            elem_id="generate-examples",
        )
        logprobs = gr.Slider(
            0,
            20,
            0,
            step=1,
            label="Log-probabilities kept per token",
            info="Of the likeliest tokens, where the teacher gives them: soft targets for logit"
            " distillation. 0 keeps none.",
            elem_id="generate-logprobs",
        )
    return [n, temperature, max_tokens, top_p, seed, stop, system, examples, logprobs]


def build_which() -> list[Any]:
    """Which seeds."""
    with gr.Row():
        topic = gr.Dropdown([("all", "")], value="", label="Topic", elem_id="generate-topic")
        source = gr.Dropdown([("all", "")], value="", label="Source", elem_id="generate-source")
    with gr.Row():
        search = gr.Textbox(
            label="Search", placeholder="part of a prompt", elem_id="generate-search"
        )
        limit = gr.Number(0, label="At most (0 = all)", precision=0, elem_id="generate-limit")
    unanswered = gr.Checkbox(
        True, label="Only seeds without an answer", elem_id="generate-unanswered"
    )
    return [topic, source, search, limit, unanswered]


def asked(
    teachers: list[str],
    recipe: str,
    n: float,
    temperature: float,
    max_tokens: float,
    top_p: float,
    seed: float,
    stop: str,
    system: str,
    topic: str,
    source: str,
    search: str,
    limit: float,
    only_unanswered: bool,
    examples: float,
    top_logprobs: float,
    judge: str,
    *options: Any,  # noqa: ANN401
) -> GenerationWish:
    """What the form asks for.

    Raises:
        InvalidInput: A number is out of its bounds; says which field.
    """
    try:
        sampling = SamplingParams(
            temperature=temperature,
            max_tokens=256 if max_tokens is None else int(max_tokens),
            top_p=top_p,
            seed=int(seed or 0),
            stop=tuple(line for line in (stop or "").splitlines() if line),
            top_logprobs=int(top_logprobs or 0),
        )
        seeds = SeedFilter(
            topic=topic or "",
            source=source or "",
            search=search or "",
            limit=int(limit or 0),
            only_unanswered=only_unanswered,
        )
    except ValidationError as err:
        problem = err.errors()[0]
        field = str(problem["loc"][0])
        raise InvalidInput(f"{_LABELS.get(field, field)}: {problem['msg']}.") from err
    return GenerationWish(
        teachers=list(teachers or []),
        recipe=known_recipe(recipe),  # none is chosen while the form fills
        n=int(n or 1),
        sampling=sampling,
        system_prompt=system or "",
        seeds=seeds,
        options=options_from(recipe, options),
        judge=judge or "",
        examples=int(examples or 0),
    )
