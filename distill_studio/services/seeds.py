"""Seeds: files, datasets of the Hub and typed prompts in, with a preview before any is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput
from distill_studio.core.progress import Progress
from distill_studio.core.records import Job, Message, Record, Seed
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.seeds.drafts import SAMPLE_ROWS, OpenFile, open_file
from distill_studio.services import hub_data, hub_source, hub_tokens, importing
from distill_studio.services.base import Service
from distill_studio.services.hub_data import HubListing, HubPlace
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
        self._samples = hub_source.HubSamples()
        workspace.jobs.register("import", self._import_job, lane="io")
        workspace.jobs.register("import_hub", self._hub_job, lane="io")

    def preview(
        self, actor: Actor, upload_id: str, mapping: ColumnMapping | None = None
    ) -> ImportPreview:
        """What an uploaded file is and what importing it would store; stores nothing."""
        actor.require(Role.REVIEWER)
        return importing.preview(self.db, self._opened(upload_id, mapping), upload_id)

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
            self._opened(upload_id, mapping),
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

    def hub_look(self, actor: Actor, place: HubPlace) -> HubListing:
        """What a dataset of the Hugging Face Hub offers: configurations, splits, its commit."""
        actor.require(Role.REVIEWER)
        return hub_data.look(place, self._token(actor))

    def hub_preview(
        self, actor: Actor, place: HubPlace, mapping: ColumnMapping | None = None
    ) -> ImportPreview:
        """What the first rows of a dataset of the Hub are, and what importing them would store.

        They are streamed; nothing is stored.
        """
        actor.require(Role.REVIEWER)
        source = self._samples.source(place, mapping, self._token(actor))
        return importing.preview(self.db, source, first=SAMPLE_ROWS)

    def hub_import(
        self,
        actor: Actor,
        place: HubPlace,
        mapping: ColumnMapping | None = None,
        mark_accepted: bool = False,
        source: str = "",
    ) -> Job:
        """Import rows of a dataset of the Hub as a job, streamed; its result is an import report.

        It reads the commit that the revision is now, also when it goes on later. Importing again
        stores nothing twice.
        """
        actor.require(Role.REVIEWER)
        found = hub_data.look(place, self._token(actor))
        parts = ("dataset", "config", "split", "revision", "commit")
        settled = {part: getattr(found, part) for part in parts}
        params = {
            "place": place.model_copy(update=settled).model_dump(),
            "mapping": mapping.model_dump() if mapping else None,
            "mark_accepted": mark_accepted,
            "source": source,
            **hub_tokens.for_job(self.workspace, actor),
        }
        title = f"Import {found.dataset} ({found.config}, {found.split})"
        return self.workspace.jobs.submit(actor, "import_hub", title, params)

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
        given = context.params["mapping"]
        mapping = ColumnMapping(**given) if given else None
        report = importing.run_import(
            self.db,
            context.actor.user,
            self._opened(context.params["upload_id"], mapping),
            mark_accepted=context.params["mark_accepted"],
            source=context.params["source"],
            progress=context.progress,
            cancel=context.cancel,
        )
        return report.model_dump(mode="json")

    def _hub_job(self, context: JobContext) -> dict[str, object]:
        asked = context.params
        token = hub_tokens.of_job(self.workspace, asked)
        context.progress(0, None, "asking the Hub")
        found = hub_source.whole(
            HubPlace(**asked["place"]),
            ColumnMapping(**asked["mapping"]) if asked["mapping"] else None,
            token,
        )
        report = importing.run_import(
            self.db,
            context.actor.user,
            found,
            mark_accepted=asked["mark_accepted"],
            source=asked["source"],
            progress=_with_rows(context.progress),
            cancel=context.cancel,
        )
        return report.model_dump(mode="json")

    def _opened(self, upload_id: str, mapping: ColumnMapping | None) -> OpenFile:
        return open_file(self.workspace.studio.uploads.path(upload_id), mapping)

    def _token(self, actor: Actor) -> hub_tokens.Token:
        return hub_tokens.token(self.workspace, is_owner=actor.role >= Role.OWNER)


def _with_rows(progress: Progress) -> Progress:
    """Says how many rows were read, of who knows how many."""

    def told(done: int, total: int | None = None, note: str = "") -> None:
        progress(done, total, ", ".join(part for part in (f"{done:,} rows read", note) if part))

    return told


def _typed_seed(prompt: str, topic: str) -> Seed:
    if len(prompt) > _MAX_PROMPT_CHARS:
        raise InvalidInput(f"A prompt is longer than {_MAX_PROMPT_CHARS:,} characters.")
    try:
        prompt.encode()
    except UnicodeEncodeError as err:
        raise InvalidInput("The prompt holds half a character.", "Paste it again.") from err
    return Seed(messages=(Message(role="user", content=prompt),), topic=topic, source="typed")
