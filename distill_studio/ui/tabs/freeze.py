"""The Freeze tab: see what would be frozen, freeze it, look into snapshots, take them away."""

from math import ceil
from typing import Any

import gradio as gr

from distill_studio.services.freeze import MOST_LISTED
from distill_studio.store.pairs import PairQuery
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note, page_head
from distill_studio.ui.panels import freeze_html
from distill_studio.ui.panels.export_html import file_link
from distill_studio.ui.panels.hub_panel import build_hub_panel
from distill_studio.ui.panels.import_html import counted
from distill_studio.ui.panels.report_panel import build_report_panel

LABEL = "Freeze"
_ROWS = 5
_SLOW: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_PICK = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-name]');
  if (button) trigger('select', {index: 0, value: button.dataset.name});
});
"""
# The place is there at once, but moves while its tab fills.
_GO = """
element.addEventListener('click', event => {
  const place = event.target.closest('[data-place]')?.dataset.place;
  if (!place) return;
  document.getElementById('ds-tab-curate-button')?.click();
  for (const wait of [300, 1500])
    setTimeout(() => document.getElementById(place)?.scrollIntoView({block: 'center'}), wait);
});
"""


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "Freeze: a dataset that never changes",
            "Training reads from a snapshot alone. Rows that belong together never straddle"
            " train and validation.",
        )
    )
    with gr.Row(elem_classes="ds-fields"):
        row_format = gr.Dropdown(
            [(text, name) for name, text in freeze_html.FORMAT_NAMES.items()],
            value="messages",
            label="Format",
            elem_id="freeze-format",
            scale=2,
        )
        share = gr.Slider(
            0, 0.5, value=0.1, step=0.05, label="Share for validation", elem_id="freeze-share"
        )
    with gr.Accordion("Choose rows and options", open=False, elem_id="freeze-options"):
        with gr.Row(elem_classes="ds-fields"):
            teacher = _filter("Teacher", "freeze-teacher")
            topic = _filter("Topic", "freeze-topic")
            source = _filter("Source", "freeze-source")
        with gr.Row(elem_classes="ds-fields"):
            system = gr.Textbox(
                label="System prompt of every row",
                placeholder="empty: each row keeps its own",
                elem_id="freeze-system",
                scale=2,
            )
            reasoning = gr.Checkbox(
                label="With reasoning",
                info="The chain of thought goes before the answer, in <think>.",
                elem_id="freeze-reasoning",
            )
    preview = gr.HTML(elem_id="freeze-preview", js_on_load=_GO, apply_default_css=False)
    with gr.Accordion("The first rows as the student will see them", open=False):
        examples = gr.HTML(elem_id="freeze-examples", apply_default_css=False)
    build_report_panel(ui)
    with gr.Row(elem_classes="ds-fields"):
        name = gr.Textbox(
            label="Name",
            placeholder="for example first-pass",
            elem_id="freeze-name",
            max_lines=1,
            scale=2,
        )
        create = gr.Button("Freeze", variant="primary", elem_id="freeze-create")
    gr.HTML('<h3 class="ds-h3">Snapshots</h3>')
    listing = gr.HTML(elem_id="freeze-list", js_on_load=_PICK, apply_default_css=False)
    chosen = gr.State("")
    with gr.Column(visible=False, elem_id="freeze-detail", elem_classes="ds-card") as detail:
        facts = gr.HTML(elem_id="freeze-facts", apply_default_css=False)
        with gr.Row(elem_classes="ds-pager"):
            pack = gr.Button("Download", size="sm", elem_id="freeze-download")
            train = gr.Button("Train on it", size="sm", elem_id="freeze-train")
            delete = gr.Button(
                "Delete", size="sm", elem_id="freeze-delete", elem_classes="ds-danger"
            )
        link = gr.HTML(elem_id="freeze-link")
        with gr.Row(visible=False, elem_classes="ds-confirm") as confirm:
            gr.HTML(note("Move this snapshot to the trash folder?", "warn"))
            yes = gr.Button("Move to trash", size="sm", elem_id="freeze-delete-yes")
            no = gr.Button("Keep it", size="sm", elem_id="freeze-delete-no")
        push_box = build_hub_panel(ui, "snapshot", chosen, "freeze")
        with gr.Row(elem_classes="ds-fields"):
            split = gr.Radio(
                ["train", "validation"], value="train", label="Split", elem_id="freeze-split"
            )
            page_number = gr.Number(1, label="Page", precision=0, minimum=1, elem_id="freeze-page")
        rows = gr.HTML(elem_id="freeze-rows", apply_default_css=False)

    choices = [row_format, share, teacher, topic, source, system, reasoning]
    previewed = [preview, examples, create]
    opened_view = [
        *(chosen, detail, facts, link, confirm, push_box, split, page_number, rows, listing),
    ]

    view = _View(ui)

    @guarded
    def on_create(
        request: gr.Request,
        workspace: str,
        wanted: str,
        *values: Any,  # noqa: ANN401  (values of the controls)
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        made = opened.freeze.create(actor, (wanted or "").strip(), **_arguments(*values))
        gr.Info(f"{made.name} is frozen: {freeze_html.split_words(made)}", duration=8)
        return ("", *view.snapshot(request, workspace, made.name))

    @guarded
    def on_pick(request: gr.Request, workspace: str, event: gr.SelectData) -> tuple[Any, ...]:
        return view.snapshot(request, workspace, str(event.value))

    @guarded
    def on_page(
        request: gr.Request, workspace: str, wanted: str, part: str, number: float | None
    ) -> tuple[Any, str]:
        pages, html = view.rows(request, workspace, wanted, part, number)
        label = _page_label(pages)
        if number and number > pages:
            return gr.Number(pages, label=label), html
        return gr.Number(label=label), html  # what is typed stays as it is

    @guarded
    def on_pack(request: gr.Request, workspace: str, wanted: str) -> str:
        opened, actor = ui.open(request, workspace)
        return file_link(workspace, opened.export.snapshot(actor, wanted, "zip"))

    @guarded
    def on_delete(request: gr.Request, workspace: str, wanted: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        gr.Info(f"Moved to {opened.freeze.delete(actor, wanted)} in the data folder.")
        return view.snapshot(request, workspace, "")

    asked = [ui.workspace, *choices]
    for control in (row_format, teacher, topic, source, reasoning):
        control.change(guarded(view.draft), asked, previewed, **QUIET)
    share.release(guarded(view.draft), asked, previewed, **QUIET)
    system.blur(guarded(view.draft), asked, previewed, **QUIET)
    create.click(on_create, [ui.workspace, name, *choices], [name, *opened_view], **_SLOW)
    listing.select(on_pick, ui.workspace, opened_view, **QUIET)
    paged = [ui.workspace, chosen, split, page_number]
    split.input(on_page, paged, [page_number, rows], **LATEST)
    page_number.input(on_page, paged, [page_number, rows], **LATEST)
    pack.click(on_pack, [ui.workspace, chosen], link, **_SLOW)
    train.click(lambda: gr.Tabs(selected="distill"), None, ui.tabs, **QUIET)
    delete.click(lambda: gr.Row(visible=True), None, confirm, **QUIET)
    no.click(lambda: gr.Row(visible=False), None, confirm, **QUIET)
    yes.click(on_delete, [ui.workspace, chosen], opened_view, **SAYING)

    def show(request: gr.Request, workspace: str, *values: Any) -> tuple[Any, ...]:  # noqa: ANN401
        *choice, wanted = values
        opened, actor = ui.open(request, workspace)
        facets = opened.review.facets(actor)
        filters = _fill(choice, facets)
        return (
            *filters,
            *view.draft(request, workspace, *choice),
            *view.snapshot(request, workspace, wanted),
        )

    return TabView(
        show=show,
        inputs=[*choices, chosen],
        outputs=[teacher, topic, source, *previewed, *opened_view],
    )


class _View:
    """What the tab shows for the choices made."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    def draft(
        self,
        request: gr.Request,
        workspace: str,
        *values: Any,  # noqa: ANN401  (values of the controls)
    ) -> tuple[Any, ...]:
        """The preview, example rows and the button of what is chosen."""
        opened, actor = self._ui.open(request, workspace)
        made = opened.freeze.preview(actor, **_arguments(*values), quick=True)
        return (
            freeze_html.preview_html(made),
            freeze_html.examples_html(made.examples),
            gr.Button(f"Freeze {counted(made.rows, 'row')}", interactive=made.rows > 0),
        )

    def snapshot(self, request: gr.Request, workspace: str, wanted: str) -> tuple[Any, ...]:
        """The list of snapshots and the open one."""
        opened, actor = self._ui.open(request, workspace)
        found = opened.freeze.page(actor, limit=MOST_LISTED)
        names = [snapshot.name for snapshot in found]
        if wanted not in names:
            closed = (gr.Row(visible=False), gr.Accordion(open=False))
            empty = ("", gr.Column(visible=False), "", "", *closed, "train", 1, "")
            return (*empty, freeze_html.snapshots_html(found, ""))
        html = freeze_html.snapshots_html(found, wanted)
        snapshot = opened.freeze.get(actor, wanted)
        pages, shown = self.rows(request, workspace, wanted, "train", 1)
        return (
            wanted,
            gr.Column(visible=True),
            freeze_html.detail_html(snapshot),
            "",
            gr.Row(visible=False),
            gr.Accordion(open=False),
            "train",
            gr.Number(1, label=_page_label(pages)),
            shown,
            html,
        )

    def rows(
        self, request: gr.Request, workspace: str, wanted: str, part: str, number: float | None
    ) -> tuple[int, str]:
        """How many pages a split has, and the rows of one; beyond the last is the last."""
        opened, actor = self._ui.open(request, workspace)
        snapshot = opened.freeze.get(actor, wanted)
        total = snapshot.train_rows if part == "train" else snapshot.validation_rows
        pages = max(1, ceil(total / _ROWS))
        place = min(max(1, int(number or 1)), pages)
        found = opened.freeze.rows(actor, wanted, part, (place - 1) * _ROWS, _ROWS)
        html = freeze_html.examples_html(found) if found else note("This split has no rows.")
        return pages, html


def _page_label(pages: int) -> str:
    return f"Page, of {pages:,}"


def _filter(label: str, elem_id: str) -> gr.Dropdown:
    return gr.Dropdown([("all", "")], value="", label=label, elem_id=elem_id)


def _fill(choice: list[Any], facets: dict[str, list[str]]) -> list[gr.Dropdown]:
    """The filters with their choices; a choice that is gone becomes `all`."""
    filters = []
    for place, key in ((2, "teacher"), (3, "topic"), (4, "source")):
        choice[place] = choice[place] if choice[place] in facets[key] else ""
        options = [("all", ""), *((value, value) for value in facets[key])]
        filters.append(gr.Dropdown(options, value=choice[place]))
    return filters


def _arguments(
    row_format: str,
    share: float,
    teacher: str,
    topic: str,
    source: str,
    system: str,
    reasoning: bool,
) -> dict[str, Any]:
    return {
        "format": row_format,
        "query": PairQuery(teacher=teacher or "", topic=topic or "", source=source or ""),
        "validation_share": share,
        "system_prompt": system or "",
        "include_reasoning": bool(reasoning),
    }
