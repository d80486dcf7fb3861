"""Curate: keep what is good. Filters, near-duplicates, and the way back.

Nothing is deleted: rows are marked `filtered` or `duplicate` with a reason, and every step undoes.
Start at `CurateService.apply`; what goes is chosen in `curation_plan`, jobs are in `curation_jobs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from distill_studio.core import embedding_models
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import Job
from distill_studio.curate.dedup.unions import group_keys
from distill_studio.curate.filters import AnyFilter, measures_version
from distill_studio.curate.reports import (
    DEFAULT_FLOOR,
    DEFAULT_THRESHOLD,
    ActionInfo,
    Comparison,
    CurateReport,
    CurateSettings,
    CurateState,
    DedupField,
    DedupPreview,
    Explanation,
    FiltersPreview,
    NearChoices,
    NearVerdict,
)
from distill_studio.services import curation_fresh, curation_jobs
from distill_studio.services import curation_views as views
from distill_studio.services import curation_work as work
from distill_studio.services.base import Service
from distill_studio.services.curation_apply import explanation, history, put_in_force
from distill_studio.services.curation_jobs import JOB_KINDS
from distill_studio.services.curation_plan import (
    DedupPlan,
    FilterPlan,
    dedup_base,
    joined,
    limit_rows,
    plan_dedup,
    plan_filters,
    without_lists,
)
from distill_studio.services.curation_settings import (
    check_floor,
    filters_of,
    model_of,
    settings_in_force,
    settings_of,
)
from distill_studio.services.memo import Memo
from distill_studio.services.pipelines import JOB_KIND as PIPELINE_JOB
from distill_studio.store import (
    curation,
    curation_actions,
    embeddings,
    filter_scores,
    pairs,
    split_links,
)
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

MEASURE_AT_ONCE = work.AT_ONCE
_SPLIT_THRESHOLD = 0.9


class CurateService(Service):
    """Filters and near-duplicates of one workspace."""

    word = "curate"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)
        # Tens of megabytes each where there are a million rows, so only the latest ones.
        self._bases = Memo(workspace.db, size=2)
        self._plans = Memo(workspace.db, size=2)
        self._filter_plans = Memo(workspace.db, size=2)
        curation_jobs.register(workspace)

    # -- looking --------------------------------------------------------------------------

    def state(self, actor: Actor) -> CurateState:
        """Where the stage stands: counts, what is not measured or compared, what is in force."""
        actor.require(Role.VIEWER)
        self._look_at_new_rows()
        running = self.workspace.jobs.page(
            actor, kinds=[*JOB_KINDS, PIPELINE_JOB], limit=1, active=True
        )
        found = self._memo.get("state", self._state)
        return found.model_copy(update={"job_id": running[0].id if running else ""})

    def _state(self) -> CurateState:
        counts = pairs.counts(self.db)
        settings = settings_in_force(self.db)
        action = curation_actions.latest_action(self.db)
        return CurateState(
            total=counts["total"],
            rejected=counts["rejected"],
            kept=curation.kept_count(self.db),
            filtered=counts["filtered"],
            duplicates=counts["duplicate"],
            unmeasured=self._unmeasured(),
            unhashed=self._unhashed(),
            compared=self._compared(settings.model),
            outdated=self._report(settings).changed if action else 0,
            is_applied=action is not None,
            pipeline=action["pipeline"] if action else "",
            new_rows=curation.new_rows(self.db) if action else 0,
            unseen=curation_fresh.unseen(self.db, settings),
            settings=settings,
            job_id="",
        )

    def preview(self, actor: Actor, filters: list[AnyFilter] | None = None) -> FiltersPreview:
        """How many rows filters drop at these settings (else those in force), with examples."""
        actor.require(Role.VIEWER)
        self._look_at_new_rows()
        used = CurateSettings(filters=filters_of(self.db, filters)).filters
        key = ("preview", *(config.model_dump_json() for config in used))
        return self._memo.get(
            key,
            lambda: views.filters_preview(
                self.db, used, self._topic_totals(), self._drops(used), self._unmeasured()
            ),
        )

    def dedup_preview(
        self,
        actor: Actor,
        field: DedupField | None = None,
        threshold: float | None = None,
        filters: list[AnyFilter] | None = None,
        near: NearChoices | None = None,
        model: str | None = None,
    ) -> DedupPreview:
        """What a threshold does: groups, rows removed, histogram, pairs nearest to the line.

        Rows that people accepted count as staying, so that conflicts can be seen.
        """
        actor.require(Role.VIEWER)
        self._look_at_new_rows()
        settings = settings_of(self.db, filters, field, threshold, False, near, model)

        def make() -> DedupPreview:
            made = self._grouped(settings)
            counts = self._memo.get(
                ("counts", _all_thresholds(settings)),
                lambda: views.dedup_counts(
                    self.db, settings, made.base.model, self._drops(without_lists(settings.filters))
                ),
            )
            return views.dedup_preview(self.db, settings, made, counts)

        return self._memo.get(("dedup", settings.model_dump_json()), make)

    def plan_report(
        self,
        actor: Actor,
        filters: list[AnyFilter] | None = None,
        field: DedupField | None = None,
        threshold: float | None = None,
        remove_accepted: bool | None = None,
        near: NearChoices | None = None,
        model: str | None = None,
    ) -> CurateReport:
        """What `apply` would leave with the same arguments, without doing it."""
        actor.require(Role.VIEWER)
        self._look_at_new_rows()
        settings = settings_of(self.db, filters, field, threshold, remove_accepted, near, model)
        return self._report(settings)

    def compare(
        self, actor: Actor, a: str, b: str, field: DedupField = "both", model: str | None = None
    ) -> Comparison:
        """Two rows in full, their similarity by a model (else the one in force), and what differs
        word by word."""
        actor.require(Role.VIEWER)
        found = views.comparison(self.db, field, model_of(self.db, model), a, b)
        if found is None:
            raise NotFound("One of these two rows is not in this workspace.")
        return found

    def verdicts(self, actor: Actor, limit: int = 200) -> list[NearVerdict]:
        """What people said of single pairs of rows, the newest first; `override` takes it back."""
        actor.require(Role.VIEWER)
        return [NearVerdict(**row) for row in curation.latest_verdicts(self.db, limit)]

    def explain(self, actor: Actor, pair_id: str) -> Explanation:
        """Why a row stays or goes: filter and score, or the row that stands for it."""
        actor.require(Role.VIEWER)
        return explanation(self.db, pair_id)

    def history(self, actor: Actor, limit: int = 20) -> list[ActionInfo]:
        """What was applied, newest first, undone steps included."""
        actor.require(Role.VIEWER)
        return history(self.db, limit)

    # -- work -----------------------------------------------------------------------------

    def measure(self, actor: Actor) -> Job:
        """Measure new and edited rows with every filter."""
        actor.require(Role.REVIEWER)
        return self.workspace.jobs.submit_once(actor, "measure", "Measure answers", {})

    def embed(
        self,
        actor: Actor,
        field: DedupField = "both",
        floor: float = DEFAULT_FLOOR,
        model: str | None = None,
    ) -> Job:
        """Embed new texts and find all near pairs from `floor` up; `both` does prompts as well.

        By an embedding model (else the one in force); what others found stays.
        """
        actor.require(Role.REVIEWER)
        check_floor(floor)
        asked = model_of(self.db, model)
        params = {"field": field, "floor": floor, "model": asked}
        title = f"Find near-duplicates ({field}{_by(asked)})"
        return self.workspace.jobs.submit_once(actor, "embed", title, params)

    def model_agreement(
        self,
        actor: Actor,
        model: str = "fast",
        field: DedupField = "both",
        threshold: float | None = None,
    ) -> Job:
        """Measure how far a model agrees with the full one on at most 400 texts of this workspace.

        The result is stored and stands in `dedup_preview`. First it finds the near pairs of
        `model`: half of the texts are of near pairs. Seconds to minutes, as the full model reads.

        Args:
            actor: Who.
            model: The model to judge.
            field: What is compared.
            threshold: Of the full model, to find the matching one for; by default that in force
                when it is the full model's, else 0.9.
        """
        actor.require(Role.REVIEWER)
        asked = model_of(self.db, model)
        if asked == embedding_models.FULL:
            raise InvalidInput("The full model agrees with itself.", "Name another model.")
        in_force = settings_in_force(self.db)
        if threshold is None:
            is_full = in_force.model == embedding_models.FULL
            threshold = in_force.threshold if is_full else DEFAULT_THRESHOLD
        settings_of(self.db, None, field, threshold)  # refuses a threshold that cannot be used
        return self.workspace.jobs.submit_once(
            actor,
            "model_agreement",
            f"Compare {embedding_models.label(asked)} with the full model ({field})",
            {"model": asked, "field": field, "threshold": threshold},
        )

    def dedup(
        self,
        actor: Actor,
        field: DedupField | None = None,
        threshold: float | None = None,
        filters: list[AnyFilter] | None = None,
        remove_accepted: bool | None = None,
        near: NearChoices | None = None,
        model: str | None = None,
    ) -> Job:
        """Measure, embed, find near-duplicates and apply, in one job; its result is the report."""
        actor.require(Role.REVIEWER)
        settings = settings_of(self.db, filters, field, threshold, remove_accepted, near, model)
        return self.workspace.jobs.submit_once(
            actor,
            "dedup",
            f"Remove near-duplicates ({settings.field}{_by(settings.model)})",
            settings.model_dump(mode="json"),
        )

    # -- deciding -------------------------------------------------------------------------

    def apply(
        self,
        actor: Actor,
        filters: list[AnyFilter] | None = None,
        field: DedupField | None = None,
        threshold: float | None = None,
        remove_accepted: bool | None = None,
        near: NearChoices | None = None,
        model: str | None = None,
    ) -> CurateReport:
        """Mark what filters drop and what others stand for; everything else is kept. Undoes.

        What is left out of the arguments is as it is in force.
        """
        actor.require(Role.REVIEWER)
        settings = settings_of(self.db, filters, field, threshold, remove_accepted, near, model)
        return put_in_force(self.db, settings, by=actor)

    def settle(self, actor: Actor) -> CurateReport:
        """Apply the settings in force again, after decisions, edits or new rows."""
        actor.require(Role.REVIEWER)
        action = curation_actions.latest_action(self.db)
        pipeline = action["pipeline"] if action else ""
        return put_in_force(self.db, settings_in_force(self.db), pipeline, by=actor)

    def undo(self, actor: Actor) -> CurateState:
        """Take the last applied step back exactly; may be repeated."""
        actor.require(Role.REVIEWER)
        if curation_actions.undo(self.db, actor.user) is None:
            raise InvalidInput("Nothing was applied, so there is nothing to undo.")
        return self.state(actor)

    def override(
        self,
        actor: Actor,
        a: str,
        b: str,
        verdict: Literal["keep_both", "keep_a", "keep_b", "clear"],
    ) -> Comparison:
        """Say of two rows which one stays, or both; `clear` takes it back. Counts from the next
        apply on."""
        actor.require(Role.REVIEWER)
        if a == b:
            raise InvalidInput("A row cannot be compared with itself.")
        self.compare(actor, a, b)
        said = "" if verdict == "clear" else str(verdict)
        if a > b:
            a, b = b, a
            said = {"keep_a": "keep_b", "keep_b": "keep_a"}.get(said, said)
        curation.set_verdict(self.db, actor.user, a, b, said)
        return self.compare(actor, a, b)

    # -- for other services ---------------------------------------------------------------

    def near_groups(self, pair_ids: Sequence[str]) -> dict[str, str]:
        """Pair id -> group key, for splits without leaks: near rows have the same key.

        Rows are tied by seed, by equal prompts (case, space and punctuation apart), and by stored
        near pairs of prompts or of prompt and answer from 0.9 up; ties chain. Works with nothing
        embedded. The key is the smallest id of the group.
        """
        work.refresh_hashes(self.db)
        model = settings_in_force(self.db).model
        rows, near = split_links.split_links(self.db, pair_ids, _SPLIT_THRESHOLD, model)
        ties: list[tuple[str, Any]] = [(r["pair_id"], ("seed", r["seed_id"])) for r in rows]
        ties += [(r["pair_id"], ("prompt", r["prompt_key"])) for r in rows if r["prompt_key"]]
        ties += [(r["a_id"], r["b_id"]) for r in near]
        return group_keys(pair_ids, ties)

    def compared_count(self, pair_ids: Sequence[str]) -> int:
        """How many of these rows a search has compared, so that `near_groups` knows them."""
        return split_links.compared_count(self.db, pair_ids, settings_in_force(self.db).model)

    # -- inside ---------------------------------------------------------------------------

    def _look_at_new_rows(self) -> None:
        """Measure and hash new and edited rows where they are few, so that views count them.

        Of many the job `measure` does it; the page starts it.
        """

        def look() -> None:
            if self._unmeasured() <= MEASURE_AT_ONCE:
                work.measure_rows(self.db)
            if 0 < self._unhashed() <= MEASURE_AT_ONCE:
                work.refresh_hashes(self.db)
            self.workspace.leaks.keep_in_step()

        self._memo.get("looked", look)

    def _unmeasured(self) -> int:
        version = measures_version()
        return self._memo.get(
            "unmeasured", lambda: filter_scores.unmeasured_count(self.db, version)
        )

    def _unhashed(self) -> int:
        return self._memo.get("unhashed", lambda: work.unhashed_count(self.db))

    def _topic_totals(self) -> list[Row]:
        return self._memo.get("topic totals", lambda: curation.topic_totals(self.db))

    def _compared(self, model: str) -> dict[str, int]:
        fields: tuple[DedupField, ...] = ("prompt", "answer", "both")
        return {
            field: embeddings.unembedded_count(self.db, model, field)
            for field in fields
            if embeddings.search_state(self.db, field, model)
        }

    def _grouped(self, settings: CurateSettings) -> DedupPlan:
        """Groups at the settings' threshold; what all thresholds have in common is kept."""
        base = self._bases.get(_all_thresholds(settings), lambda: dedup_base(self.db, settings))
        return self._plans.get(settings.model_dump_json(), lambda: plan_dedup(base, settings))

    def _filtered(self, settings: CurateSettings) -> FilterPlan:
        """What the settings' filters take, whatever the rest of the settings."""
        key = settings.model_dump_json(include={"filters", "remove_accepted"})
        return self._filter_plans.get(key, lambda: plan_filters(self.db, settings))

    def _drops(self, filters: Sequence[AnyFilter]) -> list[Row]:
        """From `curation.drop_counts`, of these filters."""
        key = ("drops", *(config.model_dump_json() for config in filters))
        return self._memo.get(key, lambda: curation.drop_counts(self.db, limit_rows(filters)))

    def _report(self, settings: CurateSettings) -> CurateReport:
        """What applying would leave and change."""

        def make() -> CurateReport:
            made = joined(self.db, settings, self._filtered(settings), self._grouped(settings))
            changed = curation.outdated_count(self.db, made.targets)
            report = views.report(self.db, made, self._topic_totals())
            return report.model_copy(update={"changed": changed})

        return self._memo.get(("report", settings.model_dump_json()), make)


def _by(model: str) -> str:
    """For a job's title: the model's name where it is not the full one."""
    is_full = model == embedding_models.FULL
    return "" if is_full else f", {embedding_models.label(model)}"


def _all_thresholds(settings: CurateSettings) -> str:
    """A key for what does not depend on the threshold."""
    return settings.model_dump_json(exclude={"threshold"})
