"""The Review tab: filters, the bench, decisions over a whole filtered list."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Curation, DecisionKind, PairStatus
from distill_studio.services.review_bulk import BulkPreview
from distill_studio.services.workspace import Workspace
from distill_studio.store.pairs import PairQuery
from distill_studio.ui.bench import bench, bench_value, shared_value
from distill_studio.ui.context import TabView, Ui
from distill_studio.ui.errors import guarded, in_view
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import esc, note, number, page_head, table
from distill_studio.ui.panels.agreement_panel import build_agreement_panel

LABEL = "Review"
_LISTS: dict[str, dict[str, Any]] = {
    "To review": {"status": PairStatus.PENDING, "curation": Curation.KEPT},
    "Accepted": {"status": PairStatus.ACCEPTED},
    "Rejected": {"status": PairStatus.REJECTED},
    "Filtered out": {"status": PairStatus.PENDING, "curation": Curation.FILTERED},
    "Near-duplicates": {"status": PairStatus.PENDING, "curation": Curation.DUPLICATE},
    "All": {},
}
_TO_SETTLE = "Ties to settle"
_SETTLING: dict[str, Any] = {"is_disputed": True}
_ORDERS = [
    ("Oldest first", ""),
    ("At random", "random"),
    ("Judge's score, lowest first", "judge_low"),
    ("Judge's score, highest first", "judge_high"),
    ("Judge unsure first", "unsure"),
    ("Disagreement first", "disagreement"),
    ("IFD, highest first", "ifd_high"),
    ("IFD, lowest first", "ifd_low"),
    ("Perplexity, highest first", "perplexity_high"),
    ("Perplexity, lowest first", "perplexity_low"),
]
_FIELDS = ("teacher", "topic", "source", "tag")
_SHORT = 120  # characters of a text in the question before a bulk
_DONE = {DecisionKind.ACCEPT: "Accepted", DecisionKind.REJECT: "Rejected"}


@dataclass(frozen=True)
class _Bulk:
    """The components of "the whole list at once"."""

    accept: gr.Button
    reject: gr.Button
    question: gr.HTML
    row: gr.Row
    reason: gr.Dropdown
    confirm: gr.Button
    cancel: gr.Button
    outcome: gr.HTML
    undo: gr.Button
    asked: gr.State  # what the person is asked to confirm
    done: gr.State  # the last bulk's id

    @property
    def reset_outputs(self) -> list[Any]:
        """What `_reset` fills."""
        return [self.question, self.row, self.asked]


def build(ui: Ui) -> TabView:
    """Make the tab."""
    gr.HTML(
        page_head(
            "Review",
            "Read each answer and accept, edit or reject it. Every decision can be undone.",
        )
    )
    with gr.Row(elem_id="review-filters", equal_height=True):
        chosen = gr.Dropdown(
            list(_LISTS), value="To review", label="List", elem_id="review-list", min_width=170
        )
        facets = [
            gr.Dropdown(
                [(f"Any {name}", "")],
                value="",
                label=name.capitalize(),
                elem_id=f"review-{name}",
                min_width=170,
            )
            for name in _FIELDS
        ]
        order = gr.Dropdown(_ORDERS, value="", label="Order", elem_id="review-order", min_width=170)
        search = gr.Textbox(
            label="Search",
            placeholder="prompt or answer",
            elem_id="review-search",
            max_lines=1,
            min_width=170,
        )
    view = bench(
        "review-bench",
        "keys.js",
        "people.js",
        "made.js",
        "learnt.js",
        "notes.js",
        "reasons.js",
        "related.js",
        "review.js",
    )
    filters = [chosen, *facets, order, search]
    with gr.Accordion("Decide the whole list at once", open=False, elem_id="review-bulk"):
        bulk = _build_bulk()
    build_agreement_panel(ui, "review")
    _wire_filters(ui, filters, view, bulk)
    _wire_bulk(ui, filters, view, bulk)

    def show(request: gr.Request, workspace: str, *values: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        offered = opened.review.facets(actor)
        kept = [v if v in offered[f] else "" for f, v in zip(_FIELDS, values[1:-2], strict=True)]
        menus = [
            gr.Dropdown(choices=[(f"Any {f}", ""), *((v, v) for v in offered[f])], value=value)
            for f, value in zip(_FIELDS, kept, strict=True)
        ]
        lists = [*_LISTS, _TO_SETTLE] if opened.labelling.rules(actor).may_settle else [*_LISTS]
        wanted = values[0] if values[0] in lists else lists[0]
        query = _query(wanted, *kept, *values[-2:])
        return gr.Dropdown(choices=lists, value=wanted), *menus, _value(opened, actor, query)

    return TabView(show=show, inputs=filters, outputs=[chosen, *facets, view])


def _build_bulk() -> _Bulk:
    gr.HTML(note("Applies to every record that matches the filters above, seen or not."))
    with gr.Row():
        accept = gr.Button("Accept all…", elem_id="review-accept-all", size="sm")
        reject = gr.Button("Reject all…", elem_id="review-reject-all", size="sm")
    question = gr.HTML(elem_id="review-bulk-question")
    with gr.Row(visible=False, equal_height=True) as row:
        reason = gr.Dropdown(
            [("No reason", "")], value="", label="Reason", elem_id="review-bulk-reason"
        )
        confirm = gr.Button(
            "Yes, decide them", variant="primary", elem_id="review-bulk-confirm", scale=0
        )
        cancel = gr.Button("Cancel", elem_id="review-bulk-cancel", scale=0)
    outcome = gr.HTML(elem_id="review-bulk-outcome")
    undo = gr.Button("Undo all of it", visible=False, elem_id="review-bulk-undo", size="sm")
    asked, done = gr.State(None), gr.State("")
    return _Bulk(accept, reject, question, row, reason, confirm, cancel, outcome, undo, asked, done)


def _wire_filters(ui: Ui, filters: list[Any], view: gr.HTML, bulk: _Bulk) -> None:
    @guarded
    def on_filter(request: gr.Request, workspace: str, *values: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        return (_value(opened, actor, _query(*values)), *_reset())

    for component in filters[:-1]:
        component.input(on_filter, [ui.workspace, *filters], [view, *bulk.reset_outputs], **LATEST)
    search, event = filters[-1], ([ui.workspace, *filters], [view, *bulk.reset_outputs])
    search.submit(on_filter, *event, **QUIET)
    search.change(on_filter, *event, **LATEST)  # as it is typed


def _wire_bulk(ui: Ui, filters: list[Any], view: gr.HTML, bulk: _Bulk) -> None:
    def ask(kind: DecisionKind) -> Any:  # noqa: ANN401
        @guarded
        def on_ask(request: gr.Request, workspace: str, *values: str) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            query = _query(*values)
            seen = opened.review.bulk_preview(actor, query, kind)
            count = seen.count
            asked = {"kind": kind, "count": count, "bulk_id": str(uuid4()), "query": query}
            reasons = [("No reason", ""), *((r, r) for r in opened.review.reasons(actor))]
            menu = gr.Dropdown(choices=reasons, value="", visible=kind is DecisionKind.REJECT)
            return _question(kind, seen), gr.Row(visible=count > 0), asked, menu

        return on_ask

    @guarded
    def on_confirm(
        request: gr.Request, workspace: str, asked: dict[str, Any] | None, reason: str
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        asked = in_view(asked, "question")
        kind, query = asked["kind"], asked["query"]
        done = opened.review.bulk(
            actor, query, kind, asked["bulk_id"], reason=reason, expected=asked["count"]
        )
        text = note(f"{_DONE[kind]} {number(done.count)} records.", "good")
        value = _value(opened, actor, query, reload=True)
        return (*_reset(), text, gr.Button(visible=True), done.bulk_id, value)

    @guarded
    def on_undo(request: gr.Request, workspace: str, bulk_id: str, *values: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        undone = opened.review.bulk_undo(actor, bulk_id)
        text = note(f"Undone: {number(undone.count)} records are as they were.", "good")
        value = _value(opened, actor, _query(*values), reload=True)
        return text, gr.Button(visible=False), "", value

    asking = [bulk.question, bulk.row, bulk.asked, bulk.reason]
    inputs = [ui.workspace, *filters]
    bulk.accept.click(ask(DecisionKind.ACCEPT), inputs, asking, **SAYING)
    bulk.reject.click(ask(DecisionKind.REJECT), inputs, asking, **SAYING)
    bulk.cancel.click(_reset, None, bulk.reset_outputs, **QUIET)
    after = [bulk.outcome, bulk.undo, bulk.done, view]
    bulk.confirm.click(
        on_confirm,
        [ui.workspace, bulk.asked, bulk.reason],
        [*bulk.reset_outputs, *after],
        **SAYING,
    )
    bulk.undo.click(on_undo, [ui.workspace, bulk.done, *filters], after, **SAYING)


def _query(*filters: Any) -> PairQuery:  # noqa: ANN401
    chosen, teacher, topic, source, tag, order, search = filters
    return PairQuery(
        **(_SETTLING if chosen == _TO_SETTLE else _LISTS[chosen]),
        teacher=teacher or "",
        topic=topic or "",
        source=source or "",
        tag=tag or "",
        sort=order or "",
        search=(search or "").strip(),
    )


def _value(
    opened: Workspace, actor: Actor, query: PairQuery, *, reload: bool = False
) -> dict[str, Any]:
    return bench_value(
        **shared_value(opened, actor),
        query=query.model_dump(mode="json", exclude={"after", "limit"}),
        reasons=opened.review.reasons(actor),
        maySetReasons=actor.role >= Role.OWNER,
        tags=opened.review.tags(actor),
        isFiltered=query != PairQuery(**_LISTS["To review"], sort=query.sort),
        reload=reload,
    )


def _question(kind: DecisionKind, seen: BulkPreview) -> str:
    others = f"{number(seen.left_out)} of the list are others' and stay as they are."
    if not seen.count:
        rest = others if seen.left_out else "Every record of this list is so already."
        return note(f"Nothing to do. {rest}")
    verb = "Accept" if kind is DecisionKind.ACCEPT else "Reject"
    text = f"{verb} {number(seen.count)} records? You can undo it as one."
    if seen.in_others_hands:
        text += f" {number(seen.in_others_hands)} of them are in others' hands now."
    if seen.left_out:
        text += f" {others}"
    return note(text, "warn") + _first(seen)


def _first(seen: BulkPreview) -> str:
    rows = [(_short(row.prompt), _short(row.answer), row.status.value) for row in seen.first]
    more = f"The first {len(rows)} of {number(seen.count)}" if len(rows) < seen.count else ""
    return table(("Prompt", "Answer", "Now"), rows, caption=more)


def _short(text: str) -> str:
    line = " ".join(text[: 4 * _SHORT].split())
    return esc(line if len(line) <= _SHORT else f"{line[:_SHORT].rstrip()} …")


def _reset() -> tuple[Any, ...]:
    return "", gr.Row(visible=False), None
