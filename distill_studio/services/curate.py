"""Curate: keep what is good. Filters, near-duplicates, and the way back.

Nothing is deleted: rows are marked `filtered` or `duplicate` with a reason, and every step undoes.
Start at `CurateService.apply`; the long work is in `curation_work`, the choice in `curation_plan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.core.records import Job
from distill_studio.curate.dedup.unions import group_keys
from distill_studio.curate.filters import AnyFilter, measures_version
from distill_studio.curate.reports import (
    DEFAULT_FLOOR,
    ActionInfo,
    Comparison,
    CurateReport,
    CurateSettings,
    CurateState,
    DedupField,
    DedupPreview,
    Explanation,
    FiltersPreview,
)
from distill_studio.services import curation_views as views
from distill_studio.services import curation_work as work
from distill_studio.services.base import Service
from distill_studio.services.curation_plan import (
    DedupBase,
    Plan,
    dedup_base,
    plan,
    plan_dedup,
)
from distill_studio.services.jobs import JobContext
from distill_studio.services.memo import Memo
from distill_studio.store import curation, embeddings, pairs

if TYPE_CHECKING:
    from distill_studio.core.protocols import Embedder
    from distill_studio.services.workspace import Workspace

JOB_KINDS = ("measure", "embed", "dedup")
MEASURE_AT_ONCE = 500  # rows measured while a page waits (well under a second)
_SPLIT_THRESHOLD = 0.9


class CurateService(Service):
    """Filters and near-duplicates of one workspace."""

    word = "curate"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)
        workspace.jobs.register("measure", self._run_measure, lane="io")
        workspace.jobs.register("embed", self._run_embed, lane="compute")
        workspace.jobs.register("dedup", self._run_dedup, lane="compute")

    # -- looking --------------------------------------------------------------------------

    def state(self, actor: Actor) -> CurateState:
        """Where the stage stands: counts, what is not measured or compared, what is in force."""
        actor.require(Role.VIEWER)
        counts = pairs.counts(self.db)
        settings = self._settings()
        action = curation.latest_action(self.db)
        self._look_at_new_rows()
        running = self.workspace.jobs.page(actor, kinds=list(JOB_KINDS), limit=1, active=True)
        targets = self._planned(settings).targets if action else []
        return CurateState(
            total=counts["total"],
            rejected=counts["rejected"],
            kept=curation.kept_count(self.db),
            filtered=counts["filtered"],
            duplicates=counts["duplicate"],
            unmeasured=self._unmeasured(),
            compared=self._memo.get("compared", self._compared),
            outdated=curation.outdated_count(self.db, targets) if action else 0,
            is_applied=action is not None,
            settings=settings,
            job_id=running[0].id if running else "",
        )

    def preview(self, actor: Actor, filters: list[AnyFilter] | None = None) -> FiltersPreview:
        """How many rows filters drop at these settings (else those in force), with examples."""
        actor.require(Role.VIEWER)
        self._look_at_new_rows()
        used = self._settings().filters if filters is None else filters
        used = CurateSettings(filters=used).filters
        key = ("preview", *(config.model_dump_json() for config in used))
        return self._memo.get(key, lambda: views.filters_preview(self.db, used))

    def dedup_preview(
        self,
        actor: Actor,
        field: DedupField = "both",
        threshold: float | None = None,
        filters: list[AnyFilter] | None = None,
    ) -> DedupPreview:
        """What a threshold does: groups, rows removed, histogram, pairs nearest to the line."""
        actor.require(Role.VIEWER)
        self._look_at_new_rows()
        settings = self._with(filters, field, threshold)
        base = self._base(settings)
        counts = self._memo.get(
            ("counts", _all_thresholds(settings)),
            lambda: views.dedup_counts(self.db, settings, base.model),
        )
        return self._memo.get(
            ("dedup", settings.model_dump_json()),
            lambda: views.dedup_preview(self.db, settings, plan_dedup(base, settings), counts),
        )

    def plan_report(
        self,
        actor: Actor,
        filters: list[AnyFilter] | None = None,
        field: DedupField = "both",
        threshold: float | None = None,
        remove_accepted: bool = False,
    ) -> CurateReport:
        """What `apply` would leave with the same arguments, without doing it."""
        actor.require(Role.VIEWER)
        self._look_at_new_rows()
        settings = self._with(filters, field, threshold, remove_accepted)

        def make() -> CurateReport:
            made = self._planned(settings)
            changed = curation.outdated_count(self.db, made.targets)
            return views.report(self.db, made).model_copy(update={"changed": changed})

        return self._memo.get(("report", settings.model_dump_json()), make)

    def compare(self, actor: Actor, a: str, b: str, field: DedupField = "both") -> Comparison:
        """Two rows in full, their similarity, and what differs word by word."""
        actor.require(Role.VIEWER)
        found = views.comparison(self.db, field, a, b)
        if found is None:
            raise NotFound("One of these two rows is not in this workspace.")
        return found

    def explain(self, actor: Actor, pair_id: str) -> Explanation:
        """Why a row stays or goes: filter and score, or the row that stands for it."""
        actor.require(Role.VIEWER)
        rows = pairs.get(self.db, [pair_id])
        if not rows:
            raise NotFound(f"There is no pair {pair_id} in this workspace.")
        change = curation.last_change(self.db, pair_id) or {}
        scores = {row["measure"]: row["score"] for row in curation.scores_of(self.db, pair_id)}
        lost_to = change.get("lost_to", "")
        is_removed = rows[0].curation.value != "kept"
        return Explanation(
            pair_id=pair_id,
            curation=rows[0].curation.value,
            reason=rows[0].curation_reason,
            code=change.get("code", "") if is_removed else "",
            score=change.get("score") if is_removed else None,
            lost_to=views.row_texts(self.db, [lost_to]).get(lost_to) if is_removed else None,
            applied_by=change.get("user_name", ""),
            applied_at=change.get("made_at"),
            scores=scores,
        )

    def history(self, actor: Actor, limit: int = 20) -> list[ActionInfo]:
        """What was applied, newest first, undone steps included."""
        actor.require(Role.VIEWER)
        return [
            ActionInfo(
                number=row["number"],
                user=row["user_name"],
                made_at=row["made_at"],
                undone_at=row["undone_at"],
                undone_by=row["undone_by"],
                changed=row["changed"],
                report=row["report"],
            )
            for row in curation.actions(self.db, limit)
        ]

    # -- work -----------------------------------------------------------------------------

    def measure(self, actor: Actor) -> Job:
        """Measure new and edited rows with every filter."""
        actor.require(Role.REVIEWER)
        return self._submit(actor, "measure", "Measure answers", {})

    def embed(self, actor: Actor, field: DedupField = "both", floor: float = DEFAULT_FLOOR) -> Job:
        """Embed new texts and find all near pairs from `floor` up; `both` does prompts as well."""
        actor.require(Role.REVIEWER)
        self._check_floor(floor)
        return self._submit(
            actor, "embed", f"Find near-duplicates ({field})", {"field": field, "floor": floor}
        )

    def dedup(
        self,
        actor: Actor,
        field: DedupField = "both",
        threshold: float | None = None,
        filters: list[AnyFilter] | None = None,
        remove_accepted: bool = False,
    ) -> Job:
        """Measure, embed, find near-duplicates and apply, in one job; its result is the report."""
        actor.require(Role.REVIEWER)
        settings = self._with(filters, field, threshold, remove_accepted)
        return self._submit(
            actor, "dedup", f"Remove near-duplicates ({field})", settings.model_dump(mode="json")
        )

    # -- deciding -------------------------------------------------------------------------

    def apply(
        self,
        actor: Actor,
        filters: list[AnyFilter] | None = None,
        field: DedupField = "both",
        threshold: float | None = None,
        remove_accepted: bool = False,
    ) -> CurateReport:
        """Mark what filters drop and what others stand for; everything else is kept. Undoes."""
        actor.require(Role.REVIEWER)
        return self._apply(actor, self._with(filters, field, threshold, remove_accepted))

    def settle(self, actor: Actor) -> CurateReport:
        """Apply the settings in force again, after decisions, edits or new rows."""
        actor.require(Role.REVIEWER)
        return self._apply(actor, self._settings())

    def undo(self, actor: Actor) -> CurateState:
        """Take the last applied step back exactly; may be repeated."""
        actor.require(Role.REVIEWER)
        if curation.undo(self.db, actor.user) is None:
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
        rows, near = embeddings.split_links(self.db, pair_ids, _SPLIT_THRESHOLD)
        ties: list[tuple[str, Any]] = [(r["pair_id"], ("seed", r["seed_id"])) for r in rows]
        ties += [(r["pair_id"], ("prompt", r["prompt_key"])) for r in rows if r["prompt_key"]]
        ties += [(r["a_id"], r["b_id"]) for r in near]
        return group_keys(pair_ids, ties)

    # -- jobs -----------------------------------------------------------------------------

    def _run_measure(self, context: JobContext) -> dict[str, Any]:
        return {"measured": work.measure_rows(self.db, context.progress, context.cancel)}

    def _run_embed(self, context: JobContext) -> dict[str, Any]:
        field: DedupField = context.params["field"]
        return self._find(context, field, float(context.params["floor"]))

    def _run_dedup(self, context: JobContext) -> dict[str, Any]:
        settings = CurateSettings.model_validate(context.params)
        work.measure_rows(self.db, context.progress, context.cancel)
        found = self._find(context, settings.field, min(DEFAULT_FLOOR, settings.threshold))
        context.cancel.raise_if_cancelled()
        report = self._apply(context.actor, settings)
        return {**found, **report.model_dump(mode="json")}

    def _find(self, context: JobContext, field: DedupField, floor: float) -> dict[str, Any]:
        context.progress(0, None, "loading the embedding model")
        embedder: Embedder = self.workspace.studio.models.embedder()
        count = work.embed_texts(self.db, embedder, field, context.progress, context.cancel)
        context.log(f"Embedded {count} texts with {embedder.model}.")
        fields: list[DedupField] = ["both", "prompt"] if field == "both" else [field]
        near = {}
        for one in fields:
            near[one] = work.find_near(
                self.db, embedder, one, floor, context.progress, context.cancel
            )
            context.log(f"{near[one]} near pairs ({one}).")
        return {"embedded": count, "near_pairs": near[field], "model": embedder.model}

    # -- inside ---------------------------------------------------------------------------

    def _submit(self, actor: Actor, kind: str, title: str, params: dict[str, Any]) -> Job:
        """A new job, or the one that already does this."""
        for job in self.workspace.jobs.page(actor, kinds=[kind], active=True):
            if job.params == params:
                return self.workspace.jobs.revive(actor, job)
        return self.workspace.jobs.submit(actor, kind, title, params)

    def _apply(self, actor: Actor, settings: CurateSettings) -> CurateReport:
        work.measure_rows(self.db)  # most of the work, before others have to wait for it
        with self.db.write():  # nobody decides between the choice and its writing
            made = self._plan(settings)
            settings = made.settings
            report = views.report(self.db, made)
            number, changed = curation.apply(
                self.db,
                actor.user,
                made.targets,
                settings.model_dump(mode="json"),
                report.model_dump(mode="json", exclude={"settings", "action", "changed"}),
            )
        return report.model_copy(update={"action": number, "changed": changed})

    def _plan(self, settings: CurateSettings) -> Plan:
        """What to apply, read inside the transaction that applies it (so without the memo)."""
        work.measure_rows(self.db)
        work.refresh_hashes(self.db)
        return plan(self.db, settings)

    def _look_at_new_rows(self) -> None:
        """Hash and, where they are few, measure new and edited rows, so that views count them."""

        def look() -> None:
            if self._unmeasured() <= MEASURE_AT_ONCE:
                work.measure_rows(self.db)
            work.refresh_hashes(self.db)

        self._memo.get("looked", look)

    def _unmeasured(self) -> int:
        version = measures_version()
        return self._memo.get("unmeasured", lambda: curation.unmeasured_count(self.db, version))

    def _compared(self) -> dict[str, int]:
        fields: tuple[DedupField, ...] = ("prompt", "answer", "both")
        return {
            field: embeddings.unembedded_count(self.db, found["model"], field)
            for field in fields
            if (found := embeddings.search_state(self.db, field))
        }

    def _base(self, settings: CurateSettings) -> DedupBase:
        key = ("base", _all_thresholds(settings))
        return self._memo.get(key, lambda: dedup_base(self.db, settings))

    def _planned(self, settings: CurateSettings) -> Plan:
        key = ("plan", settings.model_dump_json())
        return self._memo.get(key, lambda: plan(self.db, settings, self._base(settings)))

    def _settings(self) -> CurateSettings:
        """The settings in force, or the first ones."""
        action = curation.latest_action(self.db)
        return CurateSettings.model_validate(action["settings"]) if action else CurateSettings()

    def _with(
        self,
        filters: list[AnyFilter] | None,
        field: DedupField,
        threshold: float | None,
        remove_accepted: bool = False,
    ) -> CurateSettings:
        """Settings from an operation's arguments; None means what is in force."""
        in_force = self._settings()
        try:
            return CurateSettings(
                filters=in_force.filters if filters is None else filters,
                field=field,
                threshold=in_force.threshold if threshold is None else threshold,
                remove_accepted=remove_accepted,
            )
        except ValidationError as err:
            raise InvalidInput(
                f"These settings cannot be used: {err.errors()[0]['msg']}.",
                "A threshold lies between 0.5 and 1.",
            ) from err

    def _check_floor(self, floor: float) -> None:
        if not 0.5 <= floor <= 1.0:
            raise InvalidInput(f"A floor of {floor:g} cannot be used.", "Give 0.5 to 1.")


def _all_thresholds(settings: CurateSettings) -> str:
    """A key for what does not depend on the threshold."""
    return settings.model_dump_json(exclude={"threshold"})
