"""Near-duplicates on the Curate tab: what to compare, the slider, groups, one pair at a time."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gradio as gr

from distill_studio.core import embedding_models
from distill_studio.core.actor import Actor
from distill_studio.curate.reports import CurateSettings, DedupField, DedupPreview, NearChoices
from distill_studio.services.curation_jobs import JOB_KINDS
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded, in_view
from distill_studio.ui.events import LATEST, QUIET, SAYING
from distill_studio.ui.html import note
from distill_studio.ui.panels import curate_html as draw
from distill_studio.ui.panels.jobs import build_jobs_panel

Pair = tuple[str, str]  # ids of two rows
Lists = dict[str, list[Pair]]
Verdict = Literal["keep_both", "keep_a", "keep_b", "clear"]
_LISTS = [
    ("Near the threshold", "borderline"),
    ("Would go", "removed"),
    ("Conflicts", "conflicts"),
    ("Verdicts", "verdicts"),
]
_PRIORITIES = [
    ("The judge's best score", "judge"),
    ("The oldest row", "oldest"),
    ("The newest row", "newest"),
    ("The longest answer", "longest"),
    ("The shortest answer", "shortest"),
    ("A preferred teacher's answer", "teacher"),
]
_MODELS = [
    ("Full: all-MiniLM-L6-v2", embedding_models.FULL),
    ("Fast: its static copy", embedding_models.FAST),
]
_AT, _WHICH = 0, 1  # places among the panel's settings
_SIDES = {
    "borderline": ("Older row", "Newer row"),
    "removed": ("Stays", "Goes"),
    "conflicts": ("Stays", "Stays too, because a person accepted it"),
    "verdicts": ("Older row", "Newer row"),
}


class NearPanel:
    """Everything under the heading Near-duplicates.

    The tab passes the values of `settings` on: to `arguments` for what the operations take, to
    `fill` for what `shown` shows.
    """

    def __init__(self, ui: Ui) -> None:
        self._ui = ui
        gr.HTML('<h3 class="ds-h3">Near-duplicates</h3>')
        gr.HTML(
            note(
                "Answers to one prompt stay together for Prefer: they count as duplicates of each"
                " other only when they are exact copies."
            )
        )
        with gr.Row(equal_height=True, elem_id="curate-near-row"):
            self.field = gr.Radio(
                [("Prompt and answer", "both"), ("Prompt", "prompt"), ("Answer", "answer")],
                value="both",
                label="Compare",
                elem_id="curate-field",
                scale=3,
            )
            self.threshold = gr.Slider(
                0.8,
                1,
                0.9,
                step=0.005,
                label="Near from this similarity up",
                elem_id="curate-threshold",
                scale=3,
            )
            self.find = gr.Button(
                "Find near-duplicates", size="md", elem_id="curate-find", scale=0, min_width=200
            )
        with gr.Row(equal_height=True, elem_id="curate-near-choices"):
            self.model = gr.Dropdown(
                _MODELS,
                value=embedding_models.FULL,
                label="Embedding model",
                info="Or the id or folder of any sentence-transformers model.",
                allow_custom_value=True,
                elem_id="curate-model",
                min_width=260,
            )
            self.priority = gr.Dropdown(
                _PRIORITIES,
                value="judge",
                label="Of a group stays",
                info="What people accepted always comes first.",
                elem_id="curate-priority",
                min_width=260,
            )
            self.teacher = gr.Dropdown(
                [],
                label="Preferred teacher",
                info="Among its answers the better score stays.",
                allow_custom_value=True,  # of settings that came from elsewhere
                visible=False,
                elem_id="curate-teacher",
                min_width=260,
            )
            self.within_topic = gr.Checkbox(
                False,
                label="Within one topic only",
                info="Rows of different topics all stay; rows without a topic count as one topic.",
                elem_id="curate-within-topic",
                min_width=260,
            )
        with gr.Column(visible=False, elem_id="curate-agreement-box") as self.agreement_box:
            self.agreement = gr.HTML(elem_id="curate-agreement")
            with gr.Row(elem_id="curate-agreement-row"):
                self.use = gr.Button(
                    "Use it",
                    variant="primary",
                    size="sm",
                    visible=False,
                    elem_id="curate-use-threshold",
                )
                self.measure = gr.Button(
                    "Compare with the full model", size="sm", elem_id="curate-measure-agreement"
                )
        self.jobs = build_jobs_panel(ui, JOB_KINDS, "curate-jobs", limit=1)
        with gr.Row():
            self.histogram = gr.HTML(elem_id="curate-histogram")
            self.facts = gr.HTML(elem_id="curate-facts")
        with gr.Column(visible=False, elem_id="curate-pairs") as self.box:
            with gr.Row(elem_id="curate-pair-nav"):
                self.which = gr.Radio(
                    _LISTS,
                    value="borderline",
                    show_label=False,
                    elem_id="curate-list",
                    min_width=480,
                )
                self.position = gr.HTML(elem_id="curate-position", min_width=80)
                self.back = _small_button("Previous", "curate-previous")
                self.forth = _small_button("Next", "curate-next")
            self.pair = gr.HTML(elem_id="curate-pair")
            with gr.Row(elem_id="curate-verdicts"):
                self.verdicts = {
                    verdict: gr.Button(label, size="sm", elem_id=f"curate-{verdict}")
                    for verdict, label in (
                        ("keep_a", "Keep left"),
                        ("keep_b", "Keep right"),
                        ("keep_both", "Keep both"),
                        ("clear", "Follow the threshold"),
                    )
                }
            with gr.Accordion("Groups", open=False, elem_id="curate-groups-box"):
                self.groups = gr.HTML(elem_id="curate-groups")
        self.at = gr.State(0)
        self.lists = gr.State({})
        self.suggested = gr.State(None)  # the threshold that matches the full model's

    @property
    def settings(self) -> list[Any]:
        """What the operations and `fill` need to know."""
        choices = [self.priority, self.teacher, self.within_topic, self.model]
        return [self.at, self.which, self.field, self.threshold, *choices]

    @property
    def changing(self) -> list[Any]:
        """The settings that a person changes."""
        return [widget for widget in self.settings if widget is not self.at]

    @property
    def shown(self) -> list[Any]:
        """What `fill` fills, the pair in view included."""
        facts = [self.histogram, self.facts, self.box, self.groups, self.lists]
        agreement = [self.agreement_box, self.agreement, self.use, self.suggested]
        return [self.threshold, self.teacher, *agreement, *facts, *self.pair_view]

    @property
    def pair_view(self) -> list[Any]:
        """What `_pair` fills."""
        return [self.at, self.position, self.pair, *self.verdicts.values()]

    def initial(self, used: CurateSettings) -> tuple[Any, ...]:
        """Values of `settings`: those in force, and the first pair."""
        near = used.near
        choices = near.priority, near.teacher or None, near.within_topic, used.model
        return 0, "borderline", used.field, used.threshold, *choices

    def arguments(self, values: Sequence[Any]) -> dict[str, Any]:
        """What the operations of the curate service take, from the values of `settings`."""
        _, _, field, threshold, priority, teacher, within_topic, model = values
        near = NearChoices(
            priority=priority, teacher=teacher or "", within_topic=bool(within_topic)
        )
        return {
            "field": field,
            "threshold": float(threshold),
            "near": near,
            "model": embedding_models.canonical(model or ""),
        }

    def fill(
        self, workspace: Workspace, actor: Actor, near: DedupPreview, values: Sequence[Any]
    ) -> tuple[Any, ...]:
        """What `shown` shows.

        A slider that is being moved gets no value back, unless it lies below the floor.
        """
        at, which, asked = values[_AT], values[_WHICH], self.arguments(values)
        is_same = near.threshold == asked["threshold"]
        moved: dict[str, Any] = {} if is_same else {"value": near.threshold}
        is_by_teacher = asked["near"].priority == "teacher"
        teachers = workspace.review.facets(actor)["teacher"] if is_by_teacher else []
        lists: Lists = {
            "borderline": [(p.a.pair_id, p.b.pair_id) for p in near.borderline],
            "removed": [(p.a.pair_id, p.b.pair_id) for g in near.largest for p in g.removed],
            "conflicts": [(p.a.pair_id, p.b.pair_id) for p in near.conflict_pairs],
            "verdicts": [(v.a, v.b) for v in workspace.curate.verdicts(actor)],
        }
        return (
            gr.Slider(minimum=min(near.floor, 0.99), **moved),
            gr.Dropdown(choices=teachers, visible=is_by_teacher),
            gr.Column(visible=asked["model"] != embedding_models.FULL),
            draw.agreement_html(near.agreement, asked["model"]),
            *_suggestion(near),
            gr.HTML(
                draw.histogram_svg(near.histogram, near.threshold) if near.model else "",
                visible=bool(near.model),
            ),
            draw.dedup_html(near),
            gr.Column(visible=any(lists.values())),
            draw.groups_html(near.largest),
            lists,
            *_pair(workspace, actor, (near.field, asked["model"]), at, lists[which], which),
        )

    def wire(
        self,
        fill: Callable[..., tuple[Any, ...]],
        is_mine: Callable[..., Sequence[Any]],
        settings: Sequence[Any],
        shown: Sequence[Any],
    ) -> None:
        """Connect the search, navigation and verdicts.

        Args:
            fill: (workspace, actor, values of all settings) -> what `shown` shows.
            is_mine: Picks the values of this panel out of those of all settings.
            settings: All settings of the tab.
            shown: All that the tab shows.
        """
        ui = self._ui

        @guarded
        def on_find(
            request: gr.Request, workspace: str, field: DedupField, model: str | None
        ) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.curate.embed(actor, field, model=model or "")
            return self.jobs.poll(request, workspace)

        @guarded
        def on_measure(
            request: gr.Request, workspace: str, field: DedupField, model: str | None
        ) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            opened.curate.model_agreement(actor, model or "", field)
            return self.jobs.poll(request, workspace)

        @guarded
        def on_job(request: gr.Request, workspace: str, *values: Any) -> Any:  # noqa: ANN401
            opened, actor = ui.open(request, workspace)
            if opened.jobs.page(actor, kinds=list(JOB_KINDS), active=True):
                return [gr.skip()] * len(shown)
            return fill(opened, actor, values)

        @guarded
        def on_verdict(
            verdict: Verdict,
            request: gr.Request,
            workspace: str,
            lists: Lists,
            *values: Any,  # noqa: ANN401
        ) -> tuple[Any, ...]:
            opened, actor = ui.open(request, workspace)
            mine = is_mine(values)
            pairs = lists[mine[_WHICH]] if lists else []
            a, b = in_view(next(iter(pairs[mine[_AT] :]), None), "pair")
            opened.curate.override(actor, a, b, verdict)
            return fill(opened, actor, values)

        @guarded
        def on_used(request: gr.Request, workspace: str, *values: Any) -> Any:  # noqa: ANN401
            return fill(*ui.open(request, workspace), values)

        used = self.use.click(lambda found: found, self.suggested, self.threshold, **QUIET)
        used.then(on_used, [ui.workspace, *settings], list(shown), **QUIET)
        asked = [ui.workspace, self.field, self.model]
        where = [*asked, self.at, self.lists, self.which]
        self.find.click(on_find, asked, self.jobs.outputs, **SAYING)
        self.measure.click(on_measure, asked, self.jobs.outputs, **SAYING)
        self.jobs.state.change(on_job, [ui.workspace, *settings], list(shown), **LATEST)
        for button, by in ((self.back, -1), (self.forth, 1)):
            button.click(_stepper(ui, by), where, self.pair_view, **QUIET)
        for verdict, button in self.verdicts.items():
            inputs = [ui.workspace, self.lists, *settings]
            button.click(_bound(on_verdict, verdict), inputs, list(shown), **QUIET)


def _suggestion(near: DedupPreview) -> tuple[gr.Button, float | None]:
    """The button that sets the threshold which matches the full model's, and that threshold."""
    found = near.agreement.asked.matching if near.agreement else None
    if found is None:
        return gr.Button(visible=False), None
    threshold = min(1.0, math.ceil(found * 1000) / 1000)  # not below the floor of what is stored
    is_set = abs(near.threshold - threshold) < 1e-9
    label = f"The threshold is {threshold:.3f}" if is_set else f"Set it to {threshold:.3f}"
    return gr.Button(label, visible=True, interactive=not is_set), threshold


def _small_button(label: str, elem_id: str) -> gr.Button:
    return gr.Button(label, size="sm", elem_id=elem_id, scale=0, min_width=110)


def _stepper(ui: Ui, by: int) -> Any:  # noqa: ANN401
    @guarded
    def step(
        request: gr.Request,
        workspace: str,
        field: DedupField,
        model: str | None,
        at: int,
        lists: Lists,
        which: str,
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        by_what = field, model or ""
        return _pair(opened, actor, by_what, at + by, lists.get(which) or [], which)

    return step


def _bound(handler: Any, verdict: str) -> Any:  # noqa: ANN401
    def bound(request: gr.Request, workspace: str, lists: Lists, *values: Any) -> Any:  # noqa: ANN401
        return handler(verdict, request, workspace, lists, *values)

    return bound


def _pair(
    workspace: Workspace,
    actor: Actor,
    by: tuple[DedupField, str],
    at: int,
    pairs: Sequence[Pair],
    which: str,
) -> tuple[Any, ...]:
    """The pair at a place of a list: place, heading, HTML, and whether verdicts can be given.

    `by`: what is compared, and by which model.
    """
    if not pairs:
        return 0, "", note("No pairs in this list."), *[gr.Button(interactive=False)] * 4
    at = at % len(pairs)
    field, model = by
    found = workspace.curate.compare(actor, *pairs[at], field=field, model=model)
    position = f"<span class='ds-note'>{at + 1} of {len(pairs)}</span>"
    html = draw.comparison_html(found, *_SIDES[which])
    return at, position, html, *[gr.Button(interactive=True)] * 4
