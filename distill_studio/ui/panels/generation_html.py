"""What the Generate form says of itself: counts, cost, the first request."""

import json
from typing import Any

import gradio as gr

from distill_studio.services.teacher_costs import Estimate
from distill_studio.ui.html import esc, note, number


def run_button(requests: int, must_try: bool) -> Any:  # noqa: ANN401  (an update)
    """The Run button: free once there is something to do, and it was tried where it must be."""
    label = f"Run {requests:,} request{'' if requests == 1 else 's'}" if requests else "Run"
    is_free = requests > 0 and not must_try
    return gr.Button(label, interactive=is_free, variant="primary" if is_free else "secondary")


def count_html(counts: dict[str, int], requests: int, only_unanswered: bool) -> str:
    """How many seeds are chosen, in a sentence."""
    matching, free = counts["matching"], counts["unanswered"]
    seeds = f"{number(matching)} seed{'' if matching == 1 else 's'}"
    words = (
        f"<b>{number(free)}</b> of {seeds} {'has' if free == 1 else 'have'} no answer."
        if only_unanswered
        else f"<b>{seeds}</b>, answered or not."
    )
    if only_unanswered and matching and not free:
        words = f"None of {seeds} is left: each has an answer or is being asked."
    if counts["chosen"] < (free if only_unanswered else matching):
        words += f" The oldest {number(counts['chosen'])} are asked."
    if requests:
        words += f" That makes {number(requests)} request{'' if requests == 1 else 's'}."
    return f'<p class="ds-count">{words}</p>'


def estimates_html(estimates: list[Estimate]) -> str:
    """About how many tokens, and what they cost."""
    lines = []
    for each in estimates:
        read, written = number(each.prompt_tokens), number(each.completion_tokens)
        tokens = f"about {read} tokens read, {written} written"
        cost = (
            "price unknown" if each.usd is None else f"{each.usd:.2f} USD" if each.usd else "free"
        )
        limit = " That is more than its spend limit." if each.is_over_limit else ""
        words = f"{each.teacher}: {tokens}, {cost}.{limit}"
        kind = "warn" if each.is_over_limit else ""
        lines.append(f'<p class="ds-note {kind}" title="{esc(each.basis)}">{esc(words)}</p>')
    return "".join(lines)


def preview_html(first: dict[str, Any] | None) -> str:
    """The first request as text."""
    if first is None:
        return note("No seed is chosen.")
    head = ""
    if "url" in first:
        lines = [f"{first['method']} {first['url']}"]
        lines += [f"{name}: {value}" for name, value in first["headers"].items()]
        head, first = "\n".join(lines) + "\n\n", first["body"]
    text = head + json.dumps(first, indent=2, ensure_ascii=False)
    return f'<pre class="ds-request ds-mono">{esc(text, 8000)}</pre>'
