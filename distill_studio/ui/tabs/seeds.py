"""The Seeds tab: files in with a preview, prompts typed by hand, and the list of all prompts."""

from typing import Any

import gradio as gr

from distill_studio.core.records import Seed
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import chip, esc, note, page_head
from distill_studio.ui.panels.import_html import (
    counted,
    nothing_yet,
    passage_place,
    turn_chips,
)
from distill_studio.ui.panels.seeds_import import build_seeds_import

LABEL = "Seeds"
_PAGE = 25
_SHORT, _LINES = 160, 3  # of a prompt that is whole in the list
_LONGEST = 20_000  # characters of one that was opened
_SELECT = """
const chosen = () => [...element.querySelectorAll('input.ds-row:checked')].map(box => box.value);
element.addEventListener('change', event => {
  if (event.target.matches('input.ds-all'))
    element.querySelectorAll('input.ds-row').forEach(b => { b.checked = event.target.checked; });
  trigger('select', {index: 0, value: chosen()});
});
"""


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "Seeds: what the teachers are asked",
            "Bring prompts in from files, with or without answers, or type them. A text or Markdown"
            " file becomes one seed for each of its passages.",
        )
    )
    before = gr.State([])  # the ids that earlier pages began after
    chosen = gr.State([])
    listing = _Listing(ui)
    upload = build_seeds_import(ui)
    with gr.Accordion("Type prompts", open=False, elem_id="seeds-type"):
        text = gr.Textbox(label="Prompts", lines=4, elem_id="seeds-text")
        with gr.Row(elem_classes="ds-fields"):
            typed_topic = gr.Textbox(label="Topic", elem_id="seeds-text-topic")
            lines = gr.Checkbox(value=True, label="One prompt a line", elem_id="seeds-text-lines")
        add = gr.Button("Add", variant="primary", elem_id="seeds-add")
    with gr.Row(elem_classes="ds-filters"):
        search = gr.Textbox(
            label="Search", placeholder="part of a prompt", elem_id="seeds-search", scale=3
        )
        source = gr.Dropdown([("all", "")], value="", label="Source", elem_id="seeds-source")
        topic = gr.Dropdown([("all", "")], value="", label="Topic", elem_id="seeds-filter-topic")
    rows = gr.HTML(elem_id="seeds-list", js_on_load=_SELECT, apply_default_css=False)
    with gr.Row(elem_classes="ds-pager"):
        newer = gr.Button("Newer", size="sm", elem_id="seeds-newer")
        older = gr.Button("Older", size="sm", elem_id="seeds-older")
        delete = gr.Button("Delete selected", size="sm", interactive=False, elem_id="seeds-delete")
    with gr.Row(visible=False, elem_id="seeds-confirm", elem_classes="ds-confirm") as confirm:
        question = gr.HTML()
        yes = gr.Button("Delete", size="sm", elem_id="seeds-delete-yes", elem_classes="ds-danger")
        no = gr.Button("Keep them", size="sm", elem_id="seeds-delete-no")

    filters = [search, source, topic]
    table = [rows, before, newer, older, chosen, delete, confirm]
    list_outputs = [*table, *filters]
    upload.wire(listing.first, list_outputs)

    @guarded
    def on_filter(request: gr.Request, workspace: str, *values: str) -> tuple[Any, ...]:
        return listing.at(request, workspace, [], *values)

    @guarded
    def on_older(
        request: gr.Request, workspace: str, path: list[str], *values: str
    ) -> tuple[Any, ...]:
        return listing.at(request, workspace, path, *values)

    @guarded
    def on_newer(
        request: gr.Request, workspace: str, path: list[str], *values: str
    ) -> tuple[Any, ...]:
        return listing.at(request, workspace, path[:-2], *values)

    @guarded
    def on_select(event: gr.SelectData) -> tuple[Any, ...]:
        ids = list(event.value or [])
        label = f"Delete {counted(len(ids), 'prompt')}" if ids else "Delete selected"
        return ids, gr.Button(label, interactive=bool(ids)), gr.Row(visible=False)

    @guarded
    def on_ask(ids: list[str]) -> tuple[Any, ...]:
        words = f"Delete {counted(len(ids), 'prompt')}? Prompts that have answers stay."
        return gr.Row(visible=True), note(words, "warn")

    @guarded
    def on_delete(
        request: gr.Request, workspace: str, ids: list[str], *values: str
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        report = opened.seeds.delete(actor, ids)
        kept = f" {report.kept} have answers and stay." if report.kept else ""
        gr.Info(f"{counted(report.deleted, 'prompt')} deleted.{kept}")
        return listing.at(request, workspace, [], *values)

    @guarded
    def on_add(
        request: gr.Request, workspace: str, words: str, label: str, by_line: bool
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        report = opened.seeds.add(actor, words or "", label or "", by_line)
        known = f" {report.known} were there already." if report.known else ""
        gr.Info(f"{counted(report.new, 'prompt')} added.{known}")
        return ("", *listing.first(request, workspace))

    where = [ui.workspace, *filters]
    paged = [ui.workspace, before, *filters]
    search.submit(on_filter, where, table, **QUIET)
    search.change(on_filter, where, table, **LATEST)
    source.input(on_filter, where, table, **LATEST)
    topic.input(on_filter, where, table, **LATEST)
    older.click(on_older, paged, table, **QUIET)
    newer.click(on_newer, paged, table, **QUIET)
    rows.select(on_select, None, [chosen, delete, confirm], **QUIET)
    delete.click(on_ask, chosen, [confirm, question], **QUIET)
    no.click(lambda: gr.Row(visible=False), None, confirm, **QUIET)
    yes.click(on_delete, [ui.workspace, chosen, *filters], table, **SAYING)
    add.click(on_add, [ui.workspace, text, typed_topic, lines], [text, *list_outputs], **SAYING)

    def show(request: gr.Request, workspace: str) -> tuple[Any, ...]:
        return (*listing.first(request, workspace), *upload.jobs.show(request, workspace))

    return TabView(show=show, outputs=[*list_outputs, *upload.jobs.shown])


class _Listing:
    """The list of prompts, a page at a time."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    def first(self, request: gr.Request, workspace: str) -> tuple[Any, ...]:
        """The first page without filters, and fresh choices for the filters."""
        opened, actor = self._ui.open(request, workspace)
        facets = opened.seeds.facets(actor)
        choices = (
            gr.Dropdown([("all", ""), *((v, v) for v in facets[name])], value="")
            for name in ("source", "topic")
        )
        return (*self.at(request, workspace, []), "", *choices)

    def at(
        self,
        request: gr.Request,
        workspace: str,
        path: list[str],
        search: str = "",
        source: str = "",
        topic: str = "",
    ) -> tuple[Any, ...]:
        """The page after the last id of `path`; values for list, path, buttons, selection."""
        opened, actor = self._ui.open(request, workspace)
        where = {"search": search or "", "source": source or "", "topic": topic or ""}
        after = path[-1] if path else ""
        seeds = opened.seeds.page(actor, after, _PAGE + 1, newest_first=True, **where)
        total = opened.seeds.count(actor, **where)
        has_more, seeds = len(seeds) > _PAGE, seeds[:_PAGE]
        html = _table(seeds, total, len(path) * _PAGE, is_filtered=any(where.values()))
        path = [*path, seeds[-1].id] if seeds else path
        return (
            html,
            path,
            gr.Button(interactive=len(path) > 1),
            gr.Button(interactive=has_more),
            [],
            gr.Button("Delete selected", interactive=False),
            gr.Row(visible=False),
        )


def _table(seeds: list[Seed], total: int, skipped: int, *, is_filtered: bool) -> str:
    if not seeds:
        return note("No prompt matches.") if is_filtered else nothing_yet()
    body = "".join(_row(seed) for seed in seeds)
    first, last = skipped + 1, skipped + len(seeds)
    return (
        '<div class="ds-table-wrap"><table class="ds-table ds-seeds">'
        f"<caption>{first:,} to {last:,} of {counted(total, 'prompt')}</caption>"
        '<thead><tr><th><input type="checkbox" class="ds-all" aria-label="Select all shown"></th>'
        '<th scope="col">Prompt</th><th scope="col">Topic</th><th scope="col">Source</th></tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _row(seed: Seed) -> str:
    has_system = seed.messages[0].role == "system"
    marks = turn_chips(len(seed.messages), has_system=has_system)
    if seed.reference:
        marks.append(chip("has a right answer", "good"))
    if place := passage_place(seed):
        marks.append(chip(place))
    return (
        f'<tr><td><input type="checkbox" class="ds-row" value="{esc(seed.id)}"'
        f' aria-label="Select this prompt"></td>'
        f"<td>{_prompt(seed)}{''.join(marks)}</td>"
        f"<td>{esc(seed.topic, 40)}</td><td>{esc(seed.source, 40)}</td></tr>"
    )


def _prompt(seed: Seed) -> str:
    """The last user turn in three lines; a longer one, or a conversation, opens on a click."""
    text, is_single = seed.prompt, len(seed.messages) == 1
    if is_single and len(text) <= _SHORT and text.count("\n") < _LINES:
        return f'<div class="ds-cut">{esc(text)}</div>'
    whole = esc(text, _LONGEST) if is_single else _turns(seed)
    return (
        f'<details class="ds-opens"><summary><div class="ds-cut">{esc(text, 400)}</div></summary>'
        f'<div class="ds-opened">{whole}</div></details>'
    )


def _turns(seed: Seed) -> str:
    """All turns, each under who speaks."""
    html, left = "", _LONGEST
    for turn in seed.messages:
        html += f"<dt>{esc(turn.role)}</dt><dd>{esc(turn.content, max(1, left))}</dd>"
        left -= len(turn.content)
    return f"<dl>{html}</dl>"
