"""Fields of the Generate form that are the same for every recipe."""

from typing import Any

import gradio as gr


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
            minimum=1,
            maximum=131072,
            precision=0,
            elem_id="generate-max-tokens",
        )
    with gr.Accordion("More settings", open=False, elem_id="generate-more"):
        with gr.Row():
            top_p = gr.Slider(0.05, 1, 0.95, step=0.05, label="Top p", elem_id="generate-top-p")
            seed = gr.Number(
                0, label="Random seed", precision=0, minimum=0, elem_id="generate-seed"
            )
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
        limit = gr.Number(
            0, label="At most (0 = all)", minimum=0, precision=0, elem_id="generate-limit"
        )
    unanswered = gr.Checkbox(
        True, label="Only seeds without an answer", elem_id="generate-unanswered"
    )
    return [topic, source, search, limit, unanswered]
