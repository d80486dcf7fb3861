"""Diversity: topics of prompts, their map, rows set aside by hand, the choice of N rows.

Rows go only through curate's apply: a list of rows is stored and named in the settings of the
filter `set_aside`, so every step undoes with curate's undo, and accepted rows are never listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.records import Job
from distill_studio.curate.diversity.clusters import MAX_CLUSTERS
from distill_studio.curate.diversity.reports import (
    LABELS,
    METHODS,
    AreaRows,
    MapArea,
    MapPoints,
    Method,
    SelectionReport,
    SetAside,
    TopicRow,
    TopicsState,
)
from distill_studio.curate.filters import SetAsideConfig
from distill_studio.curate.filters.set_aside import in_force
from distill_studio.curate.reports import CurateSettings, RowText
from distill_studio.services import curation_views
from distill_studio.services import diversity_views as views
from distill_studio.services import diversity_work as work
from distill_studio.services.asking import Asking
from distill_studio.services.base import Service
from distill_studio.services.curation_apply import put_in_force
from distill_studio.services.curation_settings import settings_in_force
from distill_studio.services.jobs import JobContext
from distill_studio.services.memo import Memo
from distill_studio.store import diversity as table
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KINDS = ("diversity_topics", "diversity_label", "diversity_select")
MAP, SELECTION = "map", "selection"  # kinds of lists
_MAX_NAME = 80
_EXAMPLES = 6


class DiversityService(Service):
    """Topics and what is chosen by them."""

    word = "diversity"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)
        workspace.jobs.register("diversity_topics", self._run_topics, lane="compute")
        workspace.jobs.register("diversity_label", self._run_label, lane="io")
        workspace.jobs.register("diversity_select", self._run_select, lane="compute")

    # -- topics ---------------------------------------------------------------------------

    @property
    def is_mapped(self) -> bool:
        """True once topics were found."""
        return table.latest_run(self.db) is not None

    def find(self, actor: Actor, topics: int = 0, anew: bool = False) -> Job:
        """Find topics of all prompts and draw their map; 0 topics = as many as suit.

        Where topics are known already, rows that came since join the nearest one; all is clustered
        anew only when that is asked for, or another number of topics.
        """
        actor.require(Role.REVIEWER)
        if not 0 <= topics <= MAX_CLUSTERS:
            raise InvalidInput(f"There can be 1 to {MAX_CLUSTERS} topics; 0 leaves it to us.")
        title = "Find topics" if anew or topics or not table.latest_run(self.db) else "Assign rows"
        return self.workspace.jobs.submit_once(
            actor, "diversity_topics", title, {"topics": topics, "anew": anew}
        )

    def topics(self, actor: Actor) -> TopicsState:
        """The topics with their rows, what stands out, and how far to trust the map."""
        actor.require(Role.VIEWER)
        return self._memo.get("state", lambda: views.state(self.db, self._in_force()))

    def coverage(self, actor: Actor) -> list[TopicRow]:
        """Rows by topic: a row's own topic where it has one, else its cluster's name."""
        actor.require(Role.VIEWER)
        return [TopicRow(**row) for row in table.topic_counts(self.db)]

    def rename(self, actor: Actor, topic: int, name: str) -> TopicsState:
        """Call a topic something else; an empty name gives the found one back."""
        actor.require(Role.REVIEWER)
        if topic not in {row["number"] for row in table.clusters(self.db)}:
            raise NotFound(f"There is no topic {topic}.")
        table.rename(self.db, topic, " ".join(name.split())[:_MAX_NAME])
        return self.topics(actor)

    def label(self, actor: Actor, teacher: str) -> Job:
        """Ask a teacher for a short name of each topic: one request a topic, 8 prompts in each."""
        actor.require(Role.REVIEWER)
        run = self._run()
        self.workspace.teachers.config(teacher)
        params = {"teacher": teacher, "run": run["number"]}
        return self.workspace.jobs.submit_once(
            actor, "diversity_label", f"Ask {teacher} for topic names", params
        )

    # -- the map --------------------------------------------------------------------------

    def points(self, actor: Actor) -> MapPoints:
        """Prompts on the map, as columns; of very many a fixed sample."""
        actor.require(Role.VIEWER)
        run = table.latest_run(self.db)
        number = run["number"] if run else 0
        return self._memo.get("points", lambda: views.map_points(self.db, number))

    def point(self, actor: Actor, run: int, number: int) -> RowText:
        """The oldest row of a prompt on the map."""
        actor.require(Role.VIEWER)
        hashes = self._points(run)["text_hash"]
        if not 0 <= number < len(hashes):
            raise NotFound("There is no such point on the map.", "Reload the page.")
        found = self._texts([str(hashes[number])], 1)
        if not found:
            raise NotFound("The rows of this point are gone.", "Reload the page.")
        return found[0]

    def area(self, actor: Actor, run: int, area: MapArea) -> AreaRows:
        """What lies inside a part of the map, and what setting it aside would do."""
        actor.require(Role.VIEWER)
        points = self._points(run)
        chosen = views.inside(points, area)
        hashes = [str(one) for one in points["text_hash"][chosen]]
        rows = table.rows_of_prompts(self.db, hashes)
        inside = {row["id"] for row in rows}
        settings = settings_in_force(self.db)
        plan = self.workspace.curate.plan_report(actor, **_arguments(settings))
        return AreaRows(
            prompts=len(hashes),
            rows=len(rows),
            kept=sum(row["curation"] == "kept" for row in rows),
            accepted=sum(row["status"] == "accepted" for row in rows),
            would_go=sum(r["curation"] == "kept" and r["status"] != "accepted" for r in rows),
            would_go_rest=sum(
                row["curation"] == "kept" and row["id"] not in inside
                for row in table.open_rows(self.db)
            ),
            also=plan.changed,
            examples=self._texts(hashes, _EXAMPLES),
        )

    def set_aside(self, actor: Actor, run: int, area: MapArea, keep_only: bool = False) -> SetAside:
        """Set the rows of a part of the map aside, or all others (`keep_only`). Curate's undo
        takes it back. Rows that a person accepted stay."""
        actor.require(Role.REVIEWER)
        if not area.polygon and not area.topics:
            raise InvalidInput("No part of the map is chosen.", "Draw around rows, or tick topics.")
        points = self._points(run)
        hashes = [str(one) for one in points["text_hash"][views.inside(points, area)]]
        rows = table.rows_of_prompts(self.db, hashes)
        listed = [row["id"] for row in rows if row["status"] != "accepted"]
        if keep_only:
            inside = {row["id"] for row in rows}
            listed = [r["id"] for r in table.open_rows(self.db) if r["id"] not in inside]
        if not listed:
            raise InvalidInput("No row would go: accepted rows always stay.")
        how = "not kept" if keep_only else "set aside"
        where = "on the map" if area.polygon else "by topic"
        return self._apply(actor, MAP, f"{how} {where} by {actor.user}", listed, area.model_dump())

    def put_back(self, actor: Actor) -> SetAside:
        """Put all rows back that were set aside or not selected; other filters stay in force."""
        actor.require(Role.REVIEWER)
        return self._put_in_force(actor, (), 0, 0)

    # -- selection ------------------------------------------------------------------------

    def select(self, actor: Actor, count: int, methods: list[Method] | None = None) -> Job:
        """Choose `count` rows by each method and compare them; nothing changes before `choose`.

        Random is always among them. Accepted rows are chosen first by every method.
        """
        actor.require(Role.REVIEWER)
        self._run()
        if count < 1:
            raise InvalidInput("Choose at least one row.")
        asked = [m for m in METHODS if methods is None or m in methods or m == "random"]
        params = {"count": count, "methods": asked}
        return self.workspace.jobs.submit_once(
            actor, "diversity_select", f"Compare choices of {count} rows", params
        )

    def selection(self, actor: Actor, number: int = 0) -> SelectionReport | None:
        """A comparison, else the newest; None when there is none."""
        actor.require(Role.VIEWER)
        row = table.selection(self.db, number)
        if row is None:
            return None
        return SelectionReport(**{**row["report"], "number": row["number"]})

    def choose(self, actor: Actor, number: int, method: Method) -> SetAside:
        """Keep what a method chose: the other rows it could choose from are set aside. Rows that
        came since stay. Replaces an earlier choice; curate's undo takes it back."""
        actor.require(Role.REVIEWER)
        report = self.selection(actor, number)
        if report is None or method not in {one.method for one in report.methods}:
            raise NotFound("This choice is no longer there.", "Compare once more.")
        listed = table.not_selected(self.db, report.number, method)
        if not listed:
            raise InvalidInput("Every row is chosen, so none would go.")
        note = f"not selected by {LABELS[method]} ({report.count} rows), {actor.user}"
        settings = {"selection": report.number, "method": method}
        return self._apply(actor, SELECTION, note, listed, settings)

    # -- jobs -----------------------------------------------------------------------------

    def _run_topics(self, context: JobContext) -> dict[str, Any]:
        context.progress(0, None, "loading the embedding model")
        embedder = self.workspace.studio.models.embedder()
        run = table.latest_run(self.db)
        count, anew = int(context.params["topics"]), bool(context.params["anew"])
        if run and run["model"] == embedder.model and not anew and not count:
            added = work.assign_new(self.db, embedder, context.progress, context.cancel)
            context.log(f"{added} prompts joined the topics.")
            return {"run": run["number"], "assigned": added}
        made = work.make_topics(
            self.db, embedder, count, context.actor.user, context.progress, context.cancel
        )
        context.log(f"{made['topics']} topics of {made['prompts']} prompts, {embedder.model}.")
        return made

    def _run_label(self, context: JobContext) -> dict[str, Any]:
        run = int(context.params["run"])
        with Asking(self.workspace, context.job.id) as asking:
            model = asking.teacher(context.params["teacher"])
            said = work.ask_labels(self.db, asking, model, run, context)
        return {
            "named": said["named"],
            "failed": said["failed"],
            "cost_usd": asking.cost_usd,
        }

    def _run_select(self, context: JobContext) -> dict[str, Any]:
        context.progress(0, None, "loading the embedding model")
        embedder = self.workspace.studio.models.embedder()
        work.assign_new(self.db, embedder, context.progress, context.cancel)
        asked = (
            int(context.params["count"]),
            context.params["methods"],
            self._lists(SELECTION),
        )
        report = work.compare(
            self.db, embedder, asked, context.actor.user, context.progress, context.cancel
        )
        return report.model_dump(mode="json")

    # -- inside ---------------------------------------------------------------------------

    def _run(self) -> Row:
        run = table.latest_run(self.db)
        if run is None:
            raise InvalidInput("There are no topics yet.", "Find the topics first.")
        return run

    def _points(self, run: int) -> dict[str, Any]:
        if self._run()["number"] != run:
            raise Conflict("The map was drawn anew.", "Reload the page and choose again.")
        return self._memo.get("columns", lambda: table.points(self.db))

    def _texts(self, hashes: list[str], count: int) -> list[RowText]:
        step = max(1, len(hashes) // count)
        ids = {}
        for one in hashes[::step][:count]:
            rows = table.rows_of_prompts(self.db, [one])
            if rows:
                ids[rows[0]["id"]] = one
        found = curation_views.row_texts(self.db, ids)
        return [found[one] for one in ids if one in found]

    def _in_force(self) -> tuple[int, ...]:
        return in_force(settings_in_force(self.db).filters)

    def _lists(self, kind: str) -> list[int]:
        """Numbers of the lists of a kind that are in force."""
        found = table.lists(self.db, self._in_force())
        return [int(row["number"]) for row in found if row["kind"] == kind]

    def _apply(self, actor: Actor, kind: str, note: str, ids: list[str], settings: Row) -> SetAside:
        stay = set(self._in_force())
        if kind == SELECTION:
            stay -= set(self._lists(SELECTION))
        with self.db.write():
            number = table.add_list(self.db, kind, note, actor.user, settings, ids)
            return self._put_in_force(actor, (*sorted(stay), number), number, len(ids))

    def _put_in_force(
        self, actor: Actor, lists: tuple[int, ...], number: int, listed: int
    ) -> SetAside:
        settings = settings_in_force(self.db)
        filters = [one for one in settings.filters if not isinstance(one, SetAsideConfig)]
        chosen = settings.model_copy(update={"filters": [*filters, SetAsideConfig(lists=lists)]})
        report = put_in_force(self.db, chosen, by=actor)
        return SetAside(
            list_number=number,
            listed=listed,
            changed=report.changed,
            kept=report.kept,
            considered=report.considered,
        )


def _arguments(settings: CurateSettings) -> dict[str, Any]:
    """Settings as curate's operations take them."""
    return {
        "filters": settings.filters,
        "field": settings.field,
        "threshold": settings.threshold,
        "remove_accepted": settings.remove_accepted,
        "near": settings.near,
        "model": settings.model,
    }
