"""How this workspace is shared: votes a record, leases, who gets what, and the guidelines."""

from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.labelling import Assignment, LabellingSettings
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded
from distill_studio.ui.events import LATEST, SAYING
from distill_studio.ui.html import note, number
from distill_studio.ui.safe_markdown import render

_SEES = [
    ("After their own decision", "after"),
    ("Always", "always"),
]
_COLUMNS = ["Person", "Topics (several: with ;)", "Share of the prompts, %"]


@dataclass(frozen=True)
class LabellingPanel:
    """The panel's components that `show` fills."""

    owners: gr.Column
    overlap: gr.Slider
    lease: gr.Slider
    sees: gr.Radio
    adjudicators: gr.Dropdown
    assignments: gr.Dataframe
    warning: gr.HTML
    asked: gr.State
    text: gr.Textbox
    preview: gr.HTML

    @property
    def fields(self) -> list[Any]:
        """The settings' widgets."""
        return [self.overlap, self.lease, self.sees, self.adjudicators, self.assignments]

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [self.owners, *self.fields, self.warning, self.asked, self.text, self.preview]

    def show(self, opened: Workspace, actor: Actor) -> list[Any]:
        """Values for `outputs`."""
        now = opened.labelling.settings(actor)
        guidelines = opened.labelling.guidelines(actor)
        names = opened.studio.accounts.names(Role.REVIEWER) if actor.role >= Role.OWNER else []
        return [
            gr.Column(visible=actor.role >= Role.OWNER),
            now.overlap,
            now.lease_minutes,
            now.sees_others,
            gr.Dropdown(choices=sorted({*names, *now.adjudicators}), value=[*now.adjudicators]),
            _assignment_rows(now, names),
            "",
            None,
            guidelines.text,
            _preview(guidelines.text),
        ]


def build_labelling_panel(ui: Ui) -> LabellingPanel:
    """Make the panel."""
    with gr.Column(visible=False, elem_id="people-labelling") as owners:
        gr.HTML('<h3 class="ds-h3">Labelling of this workspace</h3>')
        with gr.Row():
            overlap = gr.Slider(
                1, 9, value=1, step=1, label="Votes a record needs", elem_id="people-overlap"
            )
            lease = gr.Slider(2, 240, value=15, step=1, label="A handed-out record waits, minutes")
            sees = gr.Radio(_SEES, value="after", label="Reviewers see others' votes")
        adjudicators = gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            label="May settle ties, besides owners",
            elem_id="people-adjudicators",
        )
        gr.HTML(
            note(
                "Who gets what. A person without topics and with 100 % gets everything; the shares "
                "of several people do not overlap while they add up to 100 or less."
            )
        )
        assignments = gr.Dataframe(
            headers=_COLUMNS,
            datatype=["str", "str", "number"],
            column_count=3,
            interactive=True,
            show_label=False,
            elem_id="people-assignments",
        )
        warning = gr.HTML(elem_id="people-warning")
        asked = gr.State(None)
        save = gr.Button("Save", variant="primary", elem_id="people-save")
        gr.HTML('<h3 class="ds-h3">Guidelines</h3>')
        with gr.Row(elem_id="people-guide-row"):
            text = gr.Textbox(
                label="Markdown, shown beside each record",
                lines=10,
                max_lines=24,
                elem_id="people-guidelines",
            )
            preview = gr.HTML(elem_id="people-preview", apply_default_css=False)
        publish = gr.Button("Publish a new version", elem_id="people-publish")
    panel = LabellingPanel(
        owners, overlap, lease, sees, adjudicators, assignments, warning, asked, text, preview
    )
    _wire_settings(ui, panel, save)
    _wire_guidelines(ui, panel, publish)
    return panel


def _wire_settings(ui: Ui, panel: LabellingPanel, save: gr.Button) -> None:
    @guarded
    def on_save(
        request: gr.Request,
        workspace: str,
        asked: int | None,
        *values: Any,  # noqa: ANN401
    ) -> tuple[str, int | None]:
        opened, actor = ui.open(request, workspace)
        wanted = _settings(*values)
        reopened = opened.labelling.preview(actor, wanted.overlap)
        is_more = wanted.overlap > opened.labelling.settings(actor).overlap
        if is_more and reopened and asked != reopened:
            text = (
                f"{number(reopened)} decided records would have too few votes or a tie and go back "
                "to the queue. Their votes stay. Press Save again to do it; the old number brings "
                "them back."
            )
            return note(text, "warn"), reopened
        saved = opened.labelling.save(actor, wanted, expected=asked if is_more else None)
        return note(f"Saved. {number(saved.changed)} records changed their state.", "good"), None

    save.click(
        on_save,
        [ui.workspace, panel.asked, *panel.fields],
        [panel.warning, panel.asked],
        **SAYING,
    )


def _wire_guidelines(ui: Ui, panel: LabellingPanel, publish: gr.Button) -> None:
    @guarded
    def on_publish(request: gr.Request, workspace: str, text: str) -> str:
        opened, actor = ui.open(request, workspace)
        made = opened.labelling.save_guidelines(actor, text)
        gr.Info(f"Version {made.version} is beside the task from the next look on.", duration=5)
        return _preview(made.text)

    panel.text.change(_preview, panel.text, panel.preview, **LATEST)
    publish.click(on_publish, [ui.workspace, panel.text], panel.preview, **SAYING)


def _preview(text: str) -> str:
    if not (text or "").strip():
        return note(
            "Nothing is shown beside the task yet. Say what to accept, what to reject and "
            "what to do in doubt."
        )
    return (
        '<p class="ds-note">Preview: what reviewers see once it is published</p>'
        f'<div class="ds-card"><div class="ds-text ds-rendered">{render(text)}</div></div>'
    )


def _assignment_rows(now: LabellingSettings, names: list[str]) -> list[list[Any]]:
    known = {a.user: a for a in now.assignments}
    everybody = [*known, *(name for name in names if name not in known)]
    rows = []
    for name in everybody:
        a = known.get(name) or Assignment(user=name)
        rows.append([name, "; ".join(a.topics), a.share_percent])
    return rows or [["", "", 100]]


def _settings(
    overlap: float,
    lease: float,
    sees: Literal["after", "always"],
    adjudicators: list[str],
    table: Any,  # noqa: ANN401
) -> LabellingSettings:
    """Settings from the widgets.

    Raises:
        InvalidInput: A share that is no number from 0 to 100, a person named twice.
    """
    try:
        assignments = [
            Assignment(
                user=str(user).strip(),
                topics=tuple(t.strip() for t in str(topics or "").split(";") if t.strip()),
                share_percent=round(float(share if share not in (None, "") else 100)),
            )
            for user, topics, share in table.itertuples(index=False)
            if str(user or "").strip()
        ]
        return LabellingSettings(
            overlap=round(overlap),
            lease_minutes=round(lease),
            sees_others=sees,
            adjudicators=tuple(adjudicators or ()),
            assignments=tuple(a for a in assignments if a.topics or a.share_percent < 100),
        )
    except ValueError as err:
        raise InvalidInput(
            "The assignments cannot be used.",
            "Name each person once, with a share from 0 to 100.",
        ) from err
