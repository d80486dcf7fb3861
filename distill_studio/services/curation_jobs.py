"""The jobs of the curate stage: measuring, embedding, finding near-duplicates, judging a model.

`register` makes them known to a workspace; `find_near` is also a step of pipelines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill_studio.core import embedding_models
from distill_studio.curate.reports import DEFAULT_FLOOR, CurateSettings, DedupField
from distill_studio.services import curation_work as work
from distill_studio.services import model_agreement_work as agreeing
from distill_studio.services.curation_apply import put_in_force

if TYPE_CHECKING:
    from distill_studio.core.protocols import Embedder
    from distill_studio.services.jobs import JobContext
    from distill_studio.services.workspace import Workspace

JOB_KINDS = ("measure", "embed", "dedup", "model_agreement")


def register(workspace: Workspace) -> None:
    """Make the kinds of jobs known."""
    jobs = CurationJobs(workspace)
    workspace.jobs.register("measure", jobs.measure, lane="io")
    workspace.jobs.register("embed", jobs.embed, lane="compute")
    workspace.jobs.register("dedup", jobs.dedup, lane="compute")
    workspace.jobs.register("model_agreement", jobs.agreement, lane="compute")


def find_near(
    workspace: Workspace, context: JobContext, field: DedupField, floor: float, model: str
) -> dict[str, Any]:
    """Embed new texts and store near pairs from `floor` up, in a job of whoever asks."""
    embedder = _embedder(workspace, context, model)
    count = work.embed_texts(workspace.db, embedder, field, context.progress, context.cancel)
    context.log(f"Embedded {count} texts with {embedder.model}.")
    fields: list[DedupField] = ["both", "prompt"] if field == "both" else [field]
    near = {}
    for one in fields:
        near[one] = work.find_near(
            workspace.db, embedder, one, floor, context.progress, context.cancel
        )
        context.log(f"{near[one]} near pairs ({one}).")
    return {"embedded": count, "near_pairs": near[field], "model": embedder.model}


class CurationJobs:
    """What each kind of job does; all of them read their settings from the job's parameters."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def measure(self, context: JobContext) -> dict[str, Any]:
        """Measure and hash new and edited rows."""
        db = self._workspace.db
        measured = work.measure_rows(db, context.progress, context.cancel)
        work.refresh_hashes(db, context.cancel, context.progress)
        return {"measured": measured}

    def embed(self, context: JobContext) -> dict[str, Any]:
        """Embed and compare what is new."""
        field: DedupField = context.params["field"]
        floor, model = float(context.params["floor"]), context.params.get("model", "")
        found = find_near(self._workspace, context, field, floor, embedding_models.canonical(model))
        return found

    def agreement(self, context: JobContext) -> dict[str, Any]:
        """Measure how far a model agrees with the full one."""
        field: DedupField = context.params["field"]
        find_near(self._workspace, context, field, DEFAULT_FLOOR, context.params["model"])
        full = _embedder(self._workspace, context, embedding_models.FULL)
        fast = _embedder(self._workspace, context, context.params["model"])
        threshold = float(context.params["threshold"])
        found = agreeing.measure(
            self._workspace.db, full, fast, field, threshold, context.progress, context.cancel
        )
        context.log(f"Compared {found.model} with {found.reference} on {found.texts} texts.")
        matching = found.asked.matching
        if matching is not None and 0.5 <= matching < DEFAULT_FLOOR:  # so that it can be chosen
            find_near(self._workspace, context, field, matching, found.model)
        return found.model_dump(mode="json")

    def dedup(self, context: JobContext) -> dict[str, Any]:
        """Measure, embed, compare and apply."""
        settings = CurateSettings.model_validate(context.params)
        work.measure_rows(self._workspace.db, context.progress, context.cancel)
        floor = min(DEFAULT_FLOOR, settings.threshold)
        found = find_near(self._workspace, context, settings.field, floor, settings.model)
        context.cancel.raise_if_cancelled()
        report = put_in_force(self._workspace.db, settings, by=context.actor)
        return {**found, **report.model_dump(mode="json")}


def _embedder(workspace: Workspace, context: JobContext, model: str) -> Embedder:
    """The model, loaded; a static copy is distilled first where it is not there yet."""
    context.progress(0, None, "loading the embedding model")
    models = workspace.studio.models
    embedder: Embedder = models.embedder(model, context.progress, context.cancel)
    return embedder
