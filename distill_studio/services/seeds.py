"""Seeds: files and typed prompts in, with a preview before anything is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Job, Message, Record, Seed
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services import importing
from distill_studio.services.base import Service
from distill_studio.services.importing import ImportPreview, ImportReport
from distill_studio.services.jobs import JobContext
from distill_studio.store import seeds as table

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_MAX_PROMPT_CHARS = 1_000_000


class AddReport(Record):
    """What became of typed prompts."""

    new: int = Field(description="Stored now.")
    known: int = Field(description="Stored before.")


class DeleteReport(Record):
    """What became of prompts to delete."""

    deleted: int = Field(description="Gone.")
    kept: int = Field(description="Still there, because answers belong to them.")


class SeedsService(Service):
    """Seeds: where prompts come from."""

    word = "seeds"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        workspace.jobs.register("import", self._import_job, lane="io")

    def preview(
        self, actor: Actor, upload_id: str, mapping: ColumnMapping | None = None
    ) -> ImportPreview:
        """What an uploaded file is and what importing it would store; stores nothing."""
        actor.require(Role.REVIEWER)
        path = self.workspace.studio.uploads.path(upload_id)
        return importing.preview(self.db, path, upload_id, mapping)

    def import_file(
        self,
        actor: Actor,
        upload_id: str,
        mapping: ColumnMapping | None = None,
        mark_accepted: bool = False,
        source: str = "",
    ) -> ImportReport:
        """Import an upload and wait for it; importing the same file again stores nothing twice."""
        actor.require(Role.REVIEWER)
        return importing.run_import(
            self.db,
            actor.user,
            self.workspace.studio.uploads.path(upload_id),
            mapping,
            mark_accepted=mark_accepted,
            source=source,
        )

    def import_start(
        self,
        actor: Actor,
        upload_id: str,
        mapping: ColumnMapping | None = None,
        mark_accepted: bool = False,
        source: str = "",
    ) -> Job:
        """Import an upload as a job (for big files); its result is an import report."""
        actor.require(Role.REVIEWER)
        path = self.workspace.studio.uploads.path(upload_id)
        params = {
            "upload_id": upload_id,
            "mapping": mapping.model_dump() if mapping else None,
            "mark_accepted": mark_accepted,
            "source": source,
        }
        return self.workspace.jobs.submit(actor, "import", f"Import {path.name}", params)

    def page(
        self,
        actor: Actor,
        after: str = "",
        limit: int = 50,
        search: str = "",
        topic: str = "",
        source: str = "",
        newest_first: bool = False,
    ) -> list[Seed]:
        """A page of prompts by age, from the id `after` on."""
        actor.require(Role.VIEWER)
        return table.page(
            self.db,
            after=after,
            limit=max(1, min(limit, 10_000)),
            search=search,
            topic=topic,
            source=source,
            newest_first=newest_first,
        )

    def count(self, actor: Actor, search: str = "", topic: str = "", source: str = "") -> int:
        """How many prompts match."""
        actor.require(Role.VIEWER)
        return table.count(self.db, search=search, topic=topic, source=source)

    def facets(self, actor: Actor) -> dict[str, list[str]]:
        """The topics and sources that occur, most frequent first."""
        actor.require(Role.VIEWER)
        return table.facets(self.db)

    def add(
        self, actor: Actor, text: str, topic: str = "", one_per_line: bool = False
    ) -> AddReport:
        """Store a typed prompt, or one prompt a line."""
        actor.require(Role.REVIEWER)
        texts = text.splitlines() if one_per_line else [text]
        prompts = [t.strip() for t in texts if t.strip()]
        if not prompts:
            raise InvalidInput("The prompt is empty.", "Type a prompt first.")
        made = [_typed_seed(prompt, topic.strip()) for prompt in prompts]
        stored = table.insert(self.db, made)
        new = sum(stored[seed.id] == seed.id for seed in made)
        return AddReport(new=new, known=len(made) - new)

    def delete(self, actor: Actor, ids: list[str]) -> DeleteReport:
        """Delete prompts; those that have answers stay."""
        actor.require(Role.OWNER)
        there = len(table.get(self.db, ids))
        deleted = table.delete(self.db, ids)
        return DeleteReport(deleted=deleted, kept=there - deleted)

    def _import_job(self, context: JobContext) -> dict[str, object]:
        mapping = context.params["mapping"]
        report = importing.run_import(
            self.db,
            context.actor.user,
            self.workspace.studio.uploads.path(context.params["upload_id"]),
            ColumnMapping(**mapping) if mapping else None,
            mark_accepted=context.params["mark_accepted"],
            source=context.params["source"],
            progress=context.progress,
            cancel=context.cancel,
        )
        return report.model_dump(mode="json")


def _typed_seed(prompt: str, topic: str) -> Seed:
    if len(prompt) > _MAX_PROMPT_CHARS:
        raise InvalidInput(f"A prompt is longer than {_MAX_PROMPT_CHARS:,} characters.")
    try:
        prompt.encode()
    except UnicodeEncodeError as err:
        raise InvalidInput("The prompt holds half a character.", "Paste it again.") from err
    return Seed(messages=(Message(role="user", content=prompt),), topic=topic, source="typed")
