"""The labelling benches as Gradio components: static scripts, a dict as value.

The scripts in `ui/static/` run as `js_on_load`; what they need to know (workspace, user, filters)
is the component's value, never part of a template. They reach the studio through the operation API.
"""

import secrets
from importlib import resources
from typing import Any

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.services.workspace import Workspace
from distill_studio.ui.safe_markdown import plain, render

MOST_TEXTS = 64  # texts rendered in one call


def bench(elem_id: str, *names: str) -> gr.HTML:
    """A bench over `bench.js` and more scripts; its value is made by `bench_value`."""
    return gr.HTML(
        value=None,
        html_template='<div class="ds-bench-loading">Loading</div>',
        js_on_load=scripts("held.js", "bench.js", *names),
        server_functions=[render_texts],
        apply_default_css=False,
        elem_id=elem_id,
    )


def bench_value(**fields: Any) -> dict[str, Any]:  # noqa: ANN401  (JSON values)
    """A value that differs from every earlier one, so that the bench always looks again."""
    return {**fields, "nonce": secrets.token_hex(8)}


def shared_value(opened: Workspace, actor: Actor) -> dict[str, Any]:
    """What both benches know of the other people: rules, guidelines as safe HTML."""
    guidelines = opened.labelling.guidelines(actor)
    return {
        "workspace": opened.name,
        "user": actor.user,
        "mayDecide": actor.role >= Role.REVIEWER,
        "rules": opened.labelling.rules(actor).model_dump(mode="json"),
        "guidelines": {
            "version": guidelines.version,
            "html": render(guidelines.text) if guidelines.text else "",
        },
    }


def render_texts(texts: list[str]) -> list[str]:
    """Safe HTML for each text, in order; called by the scripts ahead of need."""
    if len(texts) > MOST_TEXTS:
        return [plain(text) for text in texts[:MOST_TEXTS]]
    return [render(text) for text in texts]


def scripts(*names: str) -> str:
    """Files of `ui/static/` as one script for `js_on_load`."""
    folder = resources.files("distill_studio.ui") / "static"
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)
