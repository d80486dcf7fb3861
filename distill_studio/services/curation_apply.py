"""Putting settings in force, and what was put in force: history, and why a row stays or goes."""

from distill_studio.core.actor import Actor
from distill_studio.core.errors import NotFound
from distill_studio.curate.reports import (
    ActionInfo,
    CurateReport,
    CurateSettings,
    Explanation,
)
from distill_studio.services import curation_views as views
from distill_studio.services import curation_work as work
from distill_studio.services.curation_plan import plan
from distill_studio.store import curation, curation_actions, filter_scores, pairs
from distill_studio.store.database import Database


def put_in_force(
    db: Database, settings: CurateSettings, pipeline: str = "", *, by: Actor
) -> CurateReport:
    """Apply settings, with the name of the pipeline they come from."""
    work.measure_rows(db)  # most of the work, before others have to wait for it
    work.refresh_hashes(db)
    with db.write():  # nobody decides between the choice and its writing
        work.measure_rows(db)
        work.refresh_hashes(db)
        made = plan(db, settings)
        report = views.report(db, made, curation.topic_totals(db))
        number, changed = curation_actions.apply(
            db,
            by.user,
            made.targets,
            made.settings.model_dump(mode="json"),
            report.model_dump(mode="json", exclude={"settings", "action", "changed"}),
            pipeline,
        )
    return report.model_copy(update={"action": number, "changed": changed})


def history(db: Database, limit: int) -> list[ActionInfo]:
    """What was applied, newest first, undone steps included."""
    return [
        ActionInfo(
            number=row["number"],
            user=row["user_name"],
            made_at=row["made_at"],
            undone_at=row["undone_at"],
            undone_by=row["undone_by"],
            changed=row["changed"],
            report=row["report"],
            pipeline=row["pipeline"],
        )
        for row in curation_actions.actions(db, limit)
    ]


def explanation(db: Database, pair_id: str) -> Explanation:
    """Why a row stays or goes: filter and score, or the row that stands for it.

    Raises:
        NotFound: There is no such row.
    """
    rows = pairs.get(db, [pair_id])
    if not rows:
        raise NotFound(f"There is no pair {pair_id} in this workspace.")
    change = curation_actions.last_change(db, pair_id) or {}
    lost_to = change.get("lost_to", "")
    is_removed = rows[0].curation.value != "kept"
    return Explanation(
        pair_id=pair_id,
        curation=rows[0].curation.value,
        reason=rows[0].curation_reason,
        code=change.get("code", "") if is_removed else "",
        score=change.get("score") if is_removed else None,
        lost_to=views.row_texts(db, [lost_to]).get(lost_to) if is_removed else None,
        applied_by=change.get("user_name", ""),
        applied_at=change.get("made_at"),
        scores={row["measure"]: row["score"] for row in filter_scores.scores_of(db, pair_id)},
    )
