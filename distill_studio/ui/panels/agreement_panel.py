"""Agreement under the benches: filled when it is opened, and when a setting changes.

On Review it measures decisions, on Prefer votes and the ranking of models.
"""

from typing import Any, Literal

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST
from distill_studio.ui.html import note
from distill_studio.ui.panels import agreement_html as draw
from distill_studio.ui.panels.ranking_html import ranking_html

_MEASURED = {
    "review": [("Accept, edit or reject", "decisions"), ("Kept or rejected", "kept")],
    "prefer": [("Votes", "votes")],
}
_SOURCES = [
    ("First there are", ""),
    ("People", "people"),
    ("Judges", "judges"),
    ("Imported files", "imports"),
    ("All of them", "all"),
]
_TITLES = {
    "review": "Agreement: people, judges and verifiers",
    "prefer": "Agreement and ranking: people, judges and models",
}
_NO_ANCHOR = ("The most compared one", "")


def build_agreement_panel(ui: Ui, tab: Literal["review", "prefer"]) -> None:
    """Make the accordion and wire it; it needs nothing from its tab."""
    with gr.Accordion(_TITLES[tab], open=False, elem_id=f"{tab}-agreement-box") as box:
        with gr.Row(elem_classes="ag-top"):
            measured = gr.Radio(
                _MEASURED[tab],
                value=_MEASURED[tab][0][1],
                label="What is compared",
                visible=tab == "review",
                elem_id=f"{tab}-agreement-measured",
            )
            again = gr.Button(
                "Look again", size="sm", elem_id=f"{tab}-agreement-again", scale=0, min_width=140
            )
        people = _section(f"{tab}-agreement", "How far people agree")
        persons = _section(f"{tab}-people", "Each person")
        judges = _section(f"{tab}-judges", "Judges beside people")
        outputs: list[Any] = [people, persons, judges]
        inputs: list[Any] = [ui.workspace, measured]
        changed: list[Any] = [measured.input]
        if tab == "prefer":
            gr.HTML('<h3 class="ds-h3">Models</h3>')
            with gr.Row(equal_height=True):
                sources = gr.Dropdown(
                    _SOURCES, value="", label="Votes of", elem_id="prefer-ranking-sources"
                )
                anchor = gr.Dropdown(
                    [_NO_ANCHOR], value="", label="Anchor (1000)", elem_id="prefer-ranking-anchor"
                )
            ranking = gr.HTML(elem_id="prefer-ranking", apply_default_css=False)
            outputs += [anchor, ranking]
            inputs += [sources, anchor]
            changed += [sources.input, anchor.input]

    @guarded
    def on_show(request: gr.Request, workspace: str, *values: str) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        shown = _people(opened, actor, values[0])
        return (*shown, *_ranking(opened, actor, *values[1:])) if tab == "prefer" else shown

    for event in (box.expand, again.click, *changed):
        event(on_show, inputs, outputs, **LATEST)


def _section(elem_id: str, title: str) -> gr.HTML:
    gr.HTML(f'<h3 class="ds-h3">{title}</h3>')
    return gr.HTML(note("Loading"), elem_id=elem_id, apply_default_css=False)


def _people(opened: Workspace, actor: Actor, measured: Any) -> tuple[str, str, str]:  # noqa: ANN401
    report = opened.agreement.rows(actor, measured)
    persons = opened.agreement.people(actor)
    judges = draw.judges_of(opened.agreement.judges(actor), measured)
    own = "" if actor.role >= Role.OWNER else note("You see your own figures; an owner sees all.")
    rows = [row.model_dump(mode="json") for row in report.rows] if not report.hint else []
    return (
        draw.agreement_html(report) + draw.download_links(f"agreement-{measured}", rows),
        own
        + draw.people_html(persons, measured)
        + draw.download_links("people", [p.model_dump(mode="json") for p in persons]),
        draw.judges_html(judges, measured)
        + draw.download_links("judges", [j.model_dump(mode="json") for j in judges]),
    )


def _ranking(opened: Workspace, actor: Actor, sources: Any, anchor: str) -> tuple[Any, str]:  # noqa: ANN401
    report = opened.agreement.ranking(actor, sources, anchor=anchor or "")
    names = sorted(s.model for s in report.ranking.strengths)
    value = anchor if anchor in names else ""
    strengths = [s.model_dump(mode="json") for s in report.ranking.strengths]
    rates = [r.model_dump(mode="json") for r in report.rates]
    html = ranking_html(report)
    links = draw.download_links("strengths", strengths) + draw.download_links("win-rates", rates)
    return gr.Dropdown([_NO_ANCHOR, *((n, n) for n in names)], value=value), html + links
