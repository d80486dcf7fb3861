"""Pipelines: the settings of all filters and of near-duplicates under a name.

They are saved in the workspace, travel as JSON, and run again when rows came. A run measures what
is new, compares its meaning where the pipeline says so, checks it for leaks, and applies the
settings to all rows: what a new row makes a duplicate need not be new itself.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import Job, Record
from distill_studio.curate.filters import AnyFilter, SetAsideConfig
from distill_studio.curate.reports import DEFAULT_FLOOR, CurateSettings, DedupField, NearChoices
from distill_studio.services import curation_fresh
from distill_studio.services import curation_work as work
from distill_studio.services.base import Service
from distill_studio.services.curation_apply import put_in_force
from distill_studio.services.curation_jobs import find_near
from distill_studio.services.curation_settings import settings_of
from distill_studio.services.jobs import JobContext
from distill_studio.store import curation, curation_actions, embeddings
from distill_studio.store import pipelines as table

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KIND = "pipeline"
_FORMAT = "distill-studio curation pipeline"
_VERSION = 1
_LONGEST_NAME = 60
_LONGEST_TEXT = 200_000


class Pipeline(Record):
    """Curation settings under a name."""

    name: str = Field(description="Unique in the workspace.")
    settings: CurateSettings = Field(description="Filters and near-duplicates.")
    compares: bool = Field(description="Whether a run also compares the meaning of new rows.")
    user: str = Field(default="", description="Who saved it last.")
    changed_at: datetime | None = Field(default=None, description="When, UTC.")
    is_in_force: bool = Field(default=False, description="True for the one applied last.")


class PipelinesService(Service):
    """Saved pipelines of one workspace; what they do is done by `CurateService`."""

    word = "pipelines"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        workspace.jobs.register(JOB_KIND, self._run, lane="compute")

    def page(self, actor: Actor) -> list[Pipeline]:
        """All saved pipelines by name."""
        actor.require(Role.VIEWER)
        action = curation_actions.latest_action(self.db)
        in_force = action["pipeline"] if action else ""
        return [Pipeline(**row, is_in_force=row["name"] == in_force) for row in table.page(self.db)]

    def save(
        self,
        actor: Actor,
        name: str,
        filters: list[AnyFilter] | None = None,
        field: DedupField | None = None,
        threshold: float | None = None,
        remove_accepted: bool | None = None,
        compares: bool | None = None,
        near: NearChoices | None = None,
        model: str | None = None,
    ) -> Pipeline:
        """Save settings (else those in force) under a name, in place of what has it.

        Args:
            actor: Who.
            name: Of the pipeline.
            filters: As in `apply`.
            field: As in `apply`.
            threshold: As in `apply`.
            remove_accepted: As in `apply`.
            compares: Whether runs compare the meaning of new rows; by default when that was
                done here before.
            near: As in `apply`.
            model: As in `apply`.
        """
        actor.require(Role.REVIEWER)
        settings = settings_of(self.db, filters, field, threshold, remove_accepted, near, model)
        if compares is None:
            searched = embeddings.search_state(self.db, settings.field, settings.model)
            compares = searched is not None
        return self._save(actor, name, settings, compares=compares)

    def delete(self, actor: Actor, name: str) -> list[Pipeline]:
        """Forget a pipeline; what it applied stays applied. Returns the others."""
        actor.require(Role.REVIEWER)
        self._pipeline(actor, name)
        table.delete(self.db, name)
        return self.page(actor)

    def export_text(self, actor: Actor, name: str) -> str:
        """A pipeline as JSON text, for `import_text` elsewhere."""
        actor.require(Role.VIEWER)
        found = self._pipeline(actor, name)
        content = found.model_dump(mode="json", include={"name", "settings", "compares"})
        return json.dumps({"format": _FORMAT, "version": _VERSION, **content}, indent=2) + "\n"

    def import_text(self, actor: Actor, text: str, name: str = "") -> Pipeline:
        """Save a pipeline from its JSON text, under its own name or another.

        Raises:
            InvalidInput: It is none, or has filters that this version does not know.
        """
        actor.require(Role.REVIEWER)
        found = _parsed(text)
        return self._save(actor, name or found.name, found.settings, compares=found.compares)

    def run(self, actor: Actor, name: str = "") -> Job:
        """Measure, check and compare new rows, then apply a pipeline (else the one in force).

        The job's result is the report, with `new_rows`: how many came since the last step, and how
        many rows its filters passed without having looked at them: `unchecked` (benchmark leaks),
        `uncompared` (other datasets), `unscored` (likelihood).
        """
        actor.require(Role.REVIEWER)
        if not name:
            action = curation_actions.latest_action(self.db)
            name = action["pipeline"] if action else ""
        if not name:
            raise InvalidInput(
                "No pipeline is in force.", "Save the settings under a name, then run that."
            )
        found = self._pipeline(actor, name)
        params = found.model_dump(mode="json", include={"name", "settings", "compares"})
        return self.workspace.jobs.submit_once(actor, JOB_KIND, f"Run pipeline {name}", params)

    # -- inside ---------------------------------------------------------------------------

    def _run(self, context: JobContext) -> dict[str, Any]:
        found = Pipeline.model_validate(context.params)
        asked = found.settings
        new = curation.new_rows(self.db)
        work.measure_rows(self.db, context.progress, context.cancel)
        if found.compares:
            floor = min(DEFAULT_FLOOR, asked.threshold)
            find_near(self.workspace, context, asked.field, floor, asked.model)
        settings = settings_of(
            self.db,
            asked.filters,
            asked.field,
            asked.threshold,
            asked.remove_accepted,
            asked.near,
            asked.model,
        )
        curation_fresh.bring_up(self.workspace, context, settings, compares=found.compares)
        context.cancel.raise_if_cancelled()
        report = put_in_force(self.db, settings, found.name, by=context.actor)
        context.log(f"{new} new rows; {report.removed} of {report.considered} rows go.")
        left = curation_fresh.unseen(self.db, settings)
        for sentence in left.in_words():
            context.log(sentence)
        return {"new_rows": new, **left.model_dump(), **report.model_dump(mode="json")}

    def _pipeline(self, actor: Actor, name: str) -> Pipeline:
        found = {one.name: one for one in self.page(actor)}
        if name not in found:
            known = ", ".join(found) or "none"
            raise NotFound(f"There is no pipeline '{name}'.", f"Saved here: {known}.")
        return found[name]

    def _save(
        self, actor: Actor, name: str, settings: CurateSettings, *, compares: bool
    ) -> Pipeline:
        name = " ".join(name.split())
        if not 1 <= len(name) <= _LONGEST_NAME:
            raise InvalidInput(f"A pipeline's name has 1 to {_LONGEST_NAME} characters.")
        kept = settings.model_copy(update={"filters": _portable(settings.filters)})
        table.save(self.db, actor.user, name, kept.model_dump(mode="json"), compares=compares)
        return self._pipeline(actor, name)


def _portable(filters: list[AnyFilter]) -> list[AnyFilter]:
    """Without the rows that people of this workspace set aside: those stay in force as they are."""
    return [one for one in filters if not isinstance(one, SetAsideConfig)]


def _parsed(text: str) -> Pipeline:
    if len(text) > _LONGEST_TEXT:
        raise InvalidInput("This is too long for a pipeline.")
    try:
        content = json.loads(text)
    except ValueError as err:
        raise InvalidInput(f"This is no JSON: {err}.") from err
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InvalidInput("This is no curation pipeline.", "Export one to see how it looks.")
    if content.get("version") != _VERSION:
        raise InvalidInput(f"Version {content.get('version')} of pipelines is not known here.")
    try:
        return Pipeline.model_validate({
            k: content.get(k) for k in ("name", "settings", "compares")
        })
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"This pipeline cannot be used: {where}: {first['msg']}.") from err
