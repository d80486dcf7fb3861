"""The fold of the Seeds tab in which a dataset of the Hugging Face Hub is chosen."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from distill_studio.services.hub_data import MOST_ROWS, HubListing, HubPlace
from distill_studio.services.importing import ImportPreview
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import SAYING
from distill_studio.ui.html import chip, esc

_ROWS = 10_000
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
Show = Callable[[dict[str, Any], ImportPreview], tuple[Any, ...]]


class SeedsHub:
    """The fold; `wire` connects it to the preview that it shares with files."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        with gr.Accordion("From the Hugging Face Hub", open=False, elem_id="seeds-hub"):
            with gr.Row(elem_classes="ds-fields"):
                self.dataset = gr.Textbox(
                    label="Dataset: its id, or the address of its page",
                    placeholder="openai/gsm8k",
                    elem_id="seeds-hub-dataset",
                    scale=3,
                )
                self.revision = gr.Textbox(
                    label="Branch, tag or commit", placeholder="main", elem_id="seeds-hub-revision"
                )
            self.look = gr.Button("Look at it", variant="primary", elem_id="seeds-hub-look")
            self.facts = gr.HTML(elem_id="seeds-hub-facts", apply_default_css=False)
            with gr.Row(visible=False, elem_classes="ds-fields", elem_id="seeds-hub-choice") as row:
                self.config = gr.Dropdown(
                    [], label="Configuration", elem_id="seeds-hub-config", min_width=150
                )
                self.split = gr.Dropdown(
                    [], label="Split", elem_id="seeds-hub-split", min_width=150
                )
                self.rows = gr.Number(
                    _ROWS,
                    label="Rows at most",
                    precision=0,
                    minimum=1,
                    maximum=MOST_ROWS,
                    elem_id="seeds-hub-rows",
                )
            self.choice = row
            with gr.Accordion(
                "A private or gated dataset", open=False, elem_id="seeds-hub-token-box"
            ):
                self.token = gr.Textbox(
                    label="Token of the Hub, for this session",
                    info="Kept in memory until the app stops; HF_TOKEN where the app starts does it"
                    " for good. Only owners of this studio read the Hub with it.",
                    type="password",
                    elem_id="seeds-hub-token",
                )
                self.give = gr.Button("Use this token", size="sm", elem_id="seeds-hub-give")

    def wire(self, show: Show, outputs: Sequence[Any]) -> None:
        """Connect the fold; `show` makes the values of `outputs` of a place and its preview."""
        ui = self._ui
        mine = [self.facts, self.choice, self.config, self.split]

        def looked(request: gr.Request, workspace: str, place: HubPlace) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            found = opened.seeds.hub_look(actor, place)
            parts = ("dataset", "config", "split", "revision", "commit")
            place = place.model_copy(update={part: getattr(found, part) for part in parts})
            preview = opened.seeds.hub_preview(actor, place)
            return (
                facts_html(found),
                gr.Row(visible=True),
                gr.Dropdown(found.configs, value=found.config),
                gr.Dropdown(found.splits, value=found.split),
                *show(place.model_dump(), preview),
            )

        @guarded
        def on_look(
            request: gr.Request, workspace: str, dataset: str, revision: str, rows: float
        ) -> tuple[Any, ...]:
            return looked(request, workspace, _place(dataset, revision, rows))

        @guarded
        def on_config(
            request: gr.Request, workspace: str, dataset: str, revision: str, rows: float, name: str
        ) -> tuple[Any, ...]:
            place = _place(dataset, revision, rows).model_copy(update={"config": name or ""})
            return looked(request, workspace, place)

        @guarded
        def on_choice(
            request: gr.Request,
            workspace: str,
            dataset: str,
            revision: str,
            rows: float,
            *chosen: str,
        ) -> tuple[Any, ...]:
            parts = dict(zip(("config", "split"), chosen, strict=True))
            place = _place(dataset, revision, rows).model_copy(update=parts)
            return looked(request, workspace, place)

        @guarded
        def on_token(request: gr.Request, workspace: str, token: str) -> str:
            opened, actor = ui.open(request, workspace)
            account = opened.hub.token(actor, token or "")
            is_given = bool((token or "").strip())
            gr.Info(f"Kept for this session, as {account.user}." if is_given else "Forgotten.")
            return ""

        what = [ui.workspace, self.dataset, self.revision, self.rows]
        filled = [*mine, *outputs]
        gr.on([self.look.click, self.dataset.submit, self.revision.submit], on_look, what, filled,
              **_SLOW)  # fmt: skip
        self.config.input(
            on_config, [*what, self.config], filled, trigger_mode="always_last", **_SLOW
        )
        chosen = [*what, self.config, self.split]
        gr.on(
            [self.split.input, self.rows.submit],
            on_choice,
            chosen,
            filled,
            trigger_mode="always_last",
            **_SLOW,
        )
        self.give.click(on_token, [ui.workspace, self.token], self.token, **SAYING)


def facts_html(found: HubListing) -> str:
    """A dataset's name, commit, licence, and who may see it."""
    chips = [chip(f"{found.revision} is {found.commit[:12]}", "info")]
    if found.license:
        chips.append(chip(f"licence {found.license}"))
    chips += [chip("gated", "warn")] if found.is_gated else []
    chips += [chip("private", "warn")] if found.is_private else []
    head = f"<strong>{esc(found.dataset)}</strong>"
    return f'<div class="ds-import-head"><div>{head}</div><div>{"".join(chips)}</div></div>'


def _place(dataset: str, revision: str, rows: float) -> HubPlace:
    most = min(max(int(rows or _ROWS), 1), MOST_ROWS)
    return HubPlace(dataset=dataset or "", revision=revision or "", most_rows=most)
