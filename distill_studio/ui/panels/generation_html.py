"""What the Generate form says of itself: counts, cost, the first request."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from typing import Any

import gradio as gr

from distill_studio.core.records import AskedTotals
from distill_studio.generate.prompts import Prompts
from distill_studio.services.generation_trial import SEEDS
from distill_studio.services.teacher_costs import Estimate
from distill_studio.ui.html import counted, esc, note, number, table

_KINDS = {
    "generate": "generation",
    "generate_local": "generation",
    "generate_try": "dry runs",
    "generate_try_local": "dry runs",
    "suite": "suites",
    "arena_judge": "votes in the arena",
    "feedback_seeds": "new prompts near losses",
    "leak_judge": "reading leaks",
    "diversity_label": "names of topics",
    "compare": "comparisons",
    "compare_set": "sets of comparisons",
}


def run_button(runs: int, has_steps: bool, must_try: bool) -> Any:  # noqa: ANN401  (an update)
    """The Run button: free once there is something to do, and it was tried where it must be."""
    label = "Run"
    if runs:
        label = f"Start {counted(runs, 'run')}" if has_steps else f"Run {counted(runs, 'request')}"
    is_free = runs > 0 and not must_try
    return gr.Button(label, interactive=is_free, variant="primary" if is_free else "secondary")


def try_button(usable: int, runs: int, must_try: bool) -> Any:  # noqa: ANN401  (an update)
    """The button of the dry run: the next step where the recipe has to be tried first."""
    return gr.Button(
        f"Try on {counted(min(SEEDS, usable) or SEEDS, 'seed')}",
        interactive=runs > 0,
        variant="primary" if runs and must_try else "secondary",
    )


def count_html(
    counts: dict[str, int],
    requests: int,
    only_unanswered: bool,
    prompts: Prompts | None = None,
    usable: int | None = None,
) -> str:
    """How many seeds are chosen, in a sentence.

    Args:
        counts: Of the choice of seeds.
        requests: What a run asks; of a recipe of several steps, how often it runs.
        only_unanswered: Seeds with an answer are left out.
        prompts: The recipe's.
        usable: How many of the chosen seeds the recipe works on; None where that is not known.
    """
    matching, free = counts["matching"], counts["unanswered"]
    seeds = counted(matching, "seed")
    words = (
        f"<b>{number(free)}</b> of {seeds} {'has' if free == 1 else 'have'} no answer."
        if only_unanswered
        else f"<b>{seeds}</b>, answered or not."
    )
    if only_unanswered and matching and not free:
        words = f"None of {seeds} is left: each has an answer or is being asked."
    if counts["chosen"] < (free if only_unanswered else matching):
        words += f" The oldest {number(counts['chosen'])} are asked."
    if usable is not None and usable < counts["chosen"]:
        is_verified = prompts is not None and prompts.is_verified
        why = "a reference or tests" if is_verified else "not been through this recipe yet"
        how_many = number(usable) if usable else "None"
        words += f" {how_many} of them {'has' if usable in (0, 1) else 'have'} {why}."
    if requests and prompts is not None and prompts.has_steps:
        words += f" That makes {counted(requests, 'run')} of several requests each."
    elif requests:
        words += f" That makes {counted(requests, 'request')}."
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


def asked_html(asked: Sequence[AskedTotals], empty: str = "") -> str:
    """What each teacher was asked, useless replies too; for what, where that is told."""
    has_kinds = any(each.kinds for each in asked)
    rows = [
        [
            esc(each.teacher),
            number(each.requests),
            number(each.prompt_tokens),
            _written(each),
            _cost(each.cost_usd),
            _failures(each),
            number(each.tokens_per_s),
            *([_for(each)] if has_kinds else []),
        ]
        for each in asked
    ]
    head = ["Teacher", "Requests", "Tokens read", "written", "USD", "No use", "Tokens/s"]
    head += ["Requests for"] if has_kinds else []
    return table(head, rows, empty=empty)


def templates_html(templates: dict[str, str]) -> str:
    """Which chat template is continued for each teacher."""
    return "".join(
        note(
            f"{teacher}: "
            + (
                "the chat template of the model itself is continued."
                if name == "own"
                else f"the chat template {name} is continued, by the model's name."
            )
        )
        for teacher, name in templates.items()
    )


def _written(asked: AskedTotals) -> str:
    if not asked.untold:
        return number(asked.completion_tokens)
    words = f"{number(asked.untold)} answers came without a count of tokens"
    return f'<span title="{esc(words)}">{number(asked.completion_tokens)}+</span>'


def _cost(usd: float | None) -> str:
    return "unknown" if usd is None else f"{usd:.4f}" if usd else "0"


def _for(asked: AskedTotals) -> str:
    """What the requests were for, the most first."""
    said: Counter[str] = Counter()
    for kind, count in asked.kinds.items():
        said[_KINDS.get(kind, kind.replace("_", " "))] += count
    return esc(", ".join(f"{words} {number(n)}" for words, n in said.most_common()), 300)


def _failures(asked: AskedTotals) -> str:
    """How many, and of which kinds."""
    if not asked.failures:
        return "0"
    kinds = sorted(asked.failures.items(), key=lambda item: -item[1])
    words = ", ".join(f"{number(n)} {code.replace('_', ' ')}" for code, n in kinds)
    return esc(words, 300)


def asked_link(text: str) -> str:
    """A link that saves the ledger as a file."""
    content = b64encode(text.encode()).decode()
    return (
        '<a class="ds-link" download="teachers-asked.csv"'
        f' href="data:text/csv;base64,{content}">Save it as CSV, by job</a>'
    )


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
