"""Near-duplicates against another dataset: a file, or another workspace of the studio.

Nothing of it becomes a row here, and nothing is removed here: what is near is a score that the
filter `reference` of *curate* reads, whose apply marks rows, keeps those that people accepted, and
undoes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.records import Job
from distill_studio.curate.dedup.reports import ReferenceAdded, ReferencePair, ReferenceSet
from distill_studio.curate.diff import word_diff
from distill_studio.curate.filters import ReferenceConfig
from distill_studio.curate.filters.reference import FLOOR
from distill_studio.curate.reports import DedupField, RowText
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services import curation_views, curation_work
from distill_studio.services import reference_work as work
from distill_studio.services.base import Service
from distill_studio.services.curation_fresh import compare_references
from distill_studio.services.curation_settings import settings_in_force
from distill_studio.services.item_files import MAX_ITEMS, ReadItems
from distill_studio.services.jobs import JobContext
from distill_studio.services.memo import Memo
from distill_studio.store import pairs
from distill_studio.store import references as table
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KINDS = ("reference_compare",)
_MAX_NAME = 80


class ReferencesService(Service):
    """Other datasets that this workspace is compared with."""

    word = "references"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)
        workspace.jobs.register("reference_compare", self._run_compare, lane="compute")

    # -- sets -----------------------------------------------------------------------------

    def sets(
        self, actor: Actor, field: DedupField | None = None, threshold: float | None = None
    ) -> list[ReferenceSet]:
        """The other datasets by name, with the rows near to them (as the filter has it, where
        field and threshold are left out)."""
        actor.require(Role.VIEWER)
        self._look_at_new_rows()
        line = self._line(field, threshold)
        return self._memo.get(
            ("sets", *line), lambda: [self._set(row, *line) for row in table.sets(self.db)]
        )

    def add(
        self, actor: Actor, upload_id: str, name: str = "", mapping: ColumnMapping | None = None
    ) -> ReferenceAdded:
        """Add an uploaded file (JSONL, JSON, CSV, Parquet) to compare with.

        Without a mapping, the columns are guessed. Equal rows are known at once (of a big import
        once it is hashed, see `curate_measure`), near ones after `compare`.
        """
        actor.require(Role.REVIEWER)
        path = self.workspace.studio.uploads.path(upload_id)
        read = work.read_file(path, mapping)
        return self._add(actor, name or Path(path).stem, f"file {path.name}", read)

    def add_workspace(self, actor: Actor, workspace: str, name: str = "") -> ReferenceAdded:
        """Add the kept rows of another workspace, as they are now, to compare with."""
        actor.require(Role.REVIEWER)
        if workspace == self.workspace.name:
            raise InvalidInput(
                "A workspace is not compared with itself.", "Near-duplicates above do that."
            )
        if workspace not in self.workspace.studio.workspace_names():
            raise NotFound(f"There is no workspace '{workspace}'.")
        other = self.workspace.studio.workspace(workspace)
        read = work.read_store(table.rows_of(other.db, MAX_ITEMS + 1))
        if not read.items:
            raise InvalidInput(f"The workspace '{workspace}' has no rows to compare with.")
        return self._add(actor, name or workspace, f"workspace {workspace}", read)

    def delete(self, actor: Actor, name: str) -> str:
        """Forget another dataset; rows that went because of it come back with the next apply."""
        actor.require(Role.REVIEWER)
        table.delete(self.db, self._named(name)["id"])
        return name

    # -- finding and looking --------------------------------------------------------------

    def compare(
        self, actor: Actor, field: DedupField = "both", names: list[str] | None = None
    ) -> Job:
        """Embed what is new and find rows near to these datasets, or to all."""
        actor.require(Role.REVIEWER)
        chosen = [self._named(name)["name"] for name in names or []]
        chosen = chosen or [row["name"] for row in table.sets(self.db)]
        if not chosen:
            raise InvalidInput("There is no dataset to compare with.", "Add one first.")
        return self.workspace.jobs.submit_once(
            actor,
            "reference_compare",
            "Compare with another dataset",
            {"names": chosen, "field": field},
        )

    def pairs(
        self,
        actor: Actor,
        name: str,
        field: DedupField | None = None,
        threshold: float | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> list[ReferencePair]:
        """Rows near to a dataset, each beside its most alike row; the least alike first."""
        actor.require(Role.VIEWER)
        self._look_at_new_rows()
        set_id, line = self._named(name)["id"], self._line(field, threshold)
        page = max(1, min(limit, 200)), max(0, offset)
        return self._memo.get(
            ("pairs", set_id, *line, *page), lambda: self._page(set_id, *line, *page)
        )

    # -- inside ---------------------------------------------------------------------------

    def _run_compare(self, context: JobContext) -> dict[str, Any]:
        asked = context.params
        compared, model = compare_references(
            self.workspace, context, asked["names"], asked["field"]
        )
        return {"compared": compared, "model": model}

    def _add(self, actor: Actor, name: str, source: str, read: ReadItems) -> ReferenceAdded:
        name = " ".join(name.split())[:_MAX_NAME]
        if table.by_name(self.db, name) is not None:
            raise Conflict(
                f"There is a dataset '{name}' already.",
                "Give this one another name, or forget the other first.",
            )
        row = {"id": new_id(), "name": name, "source": source, "user_name": actor.user}
        table.add(self.db, row, read.items)
        return ReferenceAdded(
            reference=self._set(self._named(name), *self._line(None, None)),
            problem_count=read.problem_count,
            problems=read.problems,
        )

    def _look_at_new_rows(self) -> None:
        """Hash new and edited rows where they are few, so that equal ones are known."""
        self._memo.get("looked", lambda: curation_work.refresh_few_hashes(self.db))

    def _page(
        self, set_id: str, field: DedupField, threshold: float, limit: int, offset: int
    ) -> list[ReferencePair]:
        rows = table.page(self.db, set_id, field, threshold, limit, offset)
        found = {one.id: one for one in pairs.get(self.db, [row["pair_id"] for row in rows])}
        return [_beside(curation_views.whole_text(found[row["pair_id"]]), row) for row in rows]

    def _line(self, field: DedupField | None, threshold: float | None) -> tuple[DedupField, float]:
        """What is asked, else what the filter in force says."""
        filters = settings_in_force(self.db).filters
        used = next((f for f in filters if isinstance(f, ReferenceConfig)), ReferenceConfig())
        if threshold is not None and not FLOOR <= threshold <= 1.0:
            raise InvalidInput(
                f"A threshold of {threshold:g} cannot be used.", f"Give {FLOOR:g} to 1."
            )
        return field or used.field, used.threshold if threshold is None else threshold

    def _named(self, name: str) -> Row:
        found = table.by_name(self.db, name)
        if found is None:
            raise NotFound(f"There is no dataset '{name}' to compare with.")
        return found

    def _set(self, row: Row, field: DedupField, threshold: float) -> ReferenceSet:
        self._look_at_new_rows()
        rows, exact = table.near(self.db, row["id"], field, threshold)
        return ReferenceSet(
            name=row["name"],
            source=row["source"],
            items=row["items"],
            user=row["user_name"],
            made_at=row["made_at"],
            field=field,
            threshold=threshold,
            rows=rows,
            exact=exact,
            uncompared=table.uncompared(self.db, row["id"], field),
        )


def _beside(text: RowText, row: Row) -> ReferencePair:
    prompts, answers = word_diff(text.prompt, row["prompt"]), word_diff(text.answer, row["answer"])
    return ReferencePair(
        row=text,
        item=row["number"],
        similarity=row["similarity"],
        is_exact=row["is_exact"],
        prompt_diff=[(piece.where, piece.text) for piece in prompts],
        answer_diff=[(piece.where, piece.text) for piece in answers],
    )
