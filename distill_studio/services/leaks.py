"""Leaks of benchmarks: packs, the check of rows against them, candidates, verdicts.

Nothing is removed here. What was found word for word, or called a leak by a person, is a score
that the filter `contaminated` of *curate* reads: its apply marks rows, keeps those that people
accepted as conflicts, and undoes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.ids import new_id
from distill_studio.core.records import Job
from distill_studio.curate.decontaminate.reports import (
    LeakPack,
    LeakQueue,
    LeakReport,
    PackReport,
)
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services import hub_packs, leak_views
from distill_studio.services import leak_work as work
from distill_studio.services.base import Service
from distill_studio.services.jobs import JobContext
from distill_studio.store import leaks as table
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KINDS = ("leak_check", "leak_hub", "leak_candidates")
NEAREST = 3  # prompts kept for each item
FLOOR = 0.5  # least cosine of a candidate
_MAX_NAME = 80


class LeaksService(Service):
    """Leaks: what of a benchmark is in the rows."""

    word = "leaks"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        workspace.jobs.register("leak_check", self._run_check, lane="io")
        workspace.jobs.register("leak_hub", self._run_hub, lane="io")
        workspace.jobs.register("leak_candidates", self._run_candidates, lane="compute")

    # -- packs ----------------------------------------------------------------------------

    def packs(self, actor: Actor) -> list[LeakPack]:
        """The benchmarks that rows are checked against, by name."""
        actor.require(Role.VIEWER)
        return [leak_views.pack(row) for row in table.packs(self.db, work.RULES)]

    def add(
        self, actor: Actor, upload_id: str, name: str = "", mapping: ColumnMapping | None = None
    ) -> PackReport:
        """Add an uploaded file (JSONL, JSON, CSV, Parquet) as a benchmark.

        Without a mapping, the columns of questions and known answers are guessed.
        """
        actor.require(Role.REVIEWER)
        path = self.workspace.studio.uploads.path(upload_id)
        return self._add(actor.user, path, name or path.stem, f"file {path.name}", mapping)

    def add_hub(
        self,
        actor: Actor,
        dataset: str,
        name: str = "",
        config: str = "",
        split: str = "test",
        mapping: ColumnMapping | None = None,
    ) -> Job:
        """Add a split of a Hugging Face dataset as a benchmark, in a job; needs a network."""
        actor.require(Role.REVIEWER)
        if not dataset.strip():
            raise InvalidInput("The dataset has no id.", "It looks like openai/gsm8k.")
        params = {
            "dataset": dataset.strip(),
            "name": name,
            "config": config.strip(),
            "split": split.strip() or "test",
            "mapping": mapping.model_dump() if mapping else None,
        }
        return self.workspace.jobs.submit(actor, "leak_hub", f"Get {dataset.strip()}", params)

    def delete(self, actor: Actor, name: str) -> str:
        """Forget a benchmark and what was found with it; verdicts stay for when it comes again."""
        actor.require(Role.OWNER)
        table.delete_pack(self.db, self._pack(name)["id"])
        return name

    # -- finding --------------------------------------------------------------------------

    def check(self, actor: Actor, names: list[str] | None = None) -> Job:
        """Check new and edited rows against these benchmarks, or all."""
        actor.require(Role.REVIEWER)
        chosen = self._chosen(names)
        return self._submit(actor, "leak_check", "Look for benchmark leaks", {"packs": chosen})

    def find_candidates(
        self, actor: Actor, names: list[str] | None = None, nearest: int = NEAREST
    ) -> Job:
        """Find prompts that may say the same as an item in other words, for people to judge.

        The rules run first, so that what they find is no candidate.
        """
        actor.require(Role.REVIEWER)
        if not 1 <= nearest <= 50:
            raise InvalidInput("For each item 1 to 50 prompts can be kept.")
        params = {"packs": self._chosen(names), "nearest": nearest}
        return self._submit(actor, "leak_candidates", "Look for reworded leaks", params)

    # -- looking --------------------------------------------------------------------------

    def report(
        self,
        actor: Actor,
        name: str,
        rule: Literal["", "exact", "ngram", "coverage"] = "",
        limit: int = 20,
        offset: int = 0,
    ) -> LeakReport:
        """What is known about a benchmark, with a page of finds (of one rule) as evidence."""
        actor.require(Role.VIEWER)
        self._pack(name)
        row = next(row for row in table.packs(self.db, work.RULES) if row["name"] == name)
        page = max(1, min(limit, 200)), max(0, offset)
        return leak_views.report(self.db, row, rule, *page)

    def queue(
        self,
        actor: Actor,
        name: str = "",
        judged: bool = False,
        limit: int = 20,
        offset: int = 0,
    ) -> LeakQueue:
        """Candidates of a benchmark (or of all), likely leaks first; or those judged already."""
        actor.require(Role.VIEWER)
        pack_id = self._pack(name)["id"] if name else ""
        page = max(1, min(limit, 200)), max(0, offset)
        return leak_views.queue(self.db, pack_id, judged, *page)

    # -- deciding -------------------------------------------------------------------------

    def judge(
        self,
        actor: Actor,
        name: str,
        item: int,
        text_hash: str,
        verdict: Literal["leak", "not_leak", "clear"],
        id: str = "",
    ) -> LeakReport:
        """Say whether a text of a row is a leak of an item; `clear` takes it back.

        Counts from curate's next apply on. Verdicts are kept, the newest counts; the same `id`
        again changes nothing.
        """
        actor.require(Role.REVIEWER)
        item_key = table.is_known(self.db, self._pack(name)["id"], item, text_hash)
        if not item_key:
            raise NotFound("This text and this item were not brought together by any search.")
        table.add_verdict(self.db, actor.user, id or new_id(), (item_key, text_hash, verdict))
        return self.report(actor, name, limit=1)

    # -- for other services ---------------------------------------------------------------

    def checked(self, pair_ids: Sequence[str]) -> list[Row]:
        """For cards: `name`, `source`, `content_hash` and `items` of each benchmark, and of these
        rows how many are `unchecked` and `leaked`."""
        return table.checked_pairs(self.db, pair_ids, work.RULES)

    # -- jobs -----------------------------------------------------------------------------

    def _run_check(self, context: JobContext) -> dict[str, Any]:
        return {"checked": self._check_all(context)}

    def _run_candidates(self, context: JobContext) -> dict[str, Any]:
        self._check_all(context)
        context.progress(0, None, "loading the embedding model")
        embedder = self.workspace.studio.models.embedder()
        found = {
            name: work.find_candidates(
                self.db,
                embedder,
                pack["id"],
                int(context.params["nearest"]),
                FLOOR,
                context.progress,
                context.cancel,
            )
            for name in context.params["packs"]
            if (pack := table.pack(self.db, name))
        }
        return {"candidates": found, "model": embedder.model}

    def _run_hub(self, context: JobContext) -> dict[str, Any]:
        asked = context.params
        mapping = ColumnMapping(**asked["mapping"]) if asked["mapping"] else None
        _, path = self.workspace.studio.uploads.new_path("benchmark.jsonl")
        hub_packs.download(asked["dataset"], asked["config"], asked["split"], path)
        source = f"{asked['dataset']} {asked['config']} {asked['split']}".replace("  ", " ")
        name = asked["name"] or asked["dataset"].rpartition("/")[2]
        added = self._add(context.actor.user, path, name, f"Hub {source}", mapping)
        return added.model_dump(mode="json")

    def _check_all(self, context: JobContext) -> dict[str, int]:
        checked = {}
        for name in context.params["packs"]:
            pack = table.pack(self.db, name)
            if pack is not None:  # else deleted meanwhile
                checked[name] = work.check_rows(
                    self.db, pack["id"], context.progress, context.cancel
                )
                context.log(f"Checked {checked[name]} rows against {name}.")
        return checked

    # -- inside ---------------------------------------------------------------------------

    def _add(
        self, user: str, path: Path, name: str, source: str, mapping: ColumnMapping | None
    ) -> PackReport:
        name = " ".join(name.split())[:_MAX_NAME]
        read = work.read_pack(path, mapping)
        known = table.pack_with_hash(self.db, read.content_hash)
        if known is None:
            if table.pack(self.db, name) is not None:
                raise Conflict(
                    f"There is a benchmark '{name}' already, with other items.",
                    "Give this one another name, or delete the other first.",
                )
            table.add_pack(self.db, work.pack_row(name, source, user, read), read.items)
        name = known["name"] if known else name
        row = next(row for row in table.packs(self.db, work.RULES) if row["name"] == name)
        return PackReport(
            pack=leak_views.pack(row),
            problem_count=read.problem_count,
            problems=read.problems,
            is_new=known is None,
        )

    def _pack(self, name: str) -> Row:
        found = table.pack(self.db, name)
        if found is None:
            raise NotFound(f"There is no benchmark '{name}' in this workspace.")
        return found

    def _chosen(self, names: list[str] | None) -> list[str]:
        if names is not None:
            return [self._pack(name)["name"] for name in names]
        found = [row["name"] for row in table.packs(self.db, work.RULES)]
        if not found:
            raise InvalidInput("There is no benchmark to check against.", "Add one first.")
        return found

    def _submit(self, actor: Actor, kind: str, title: str, params: dict[str, Any]) -> Job:
        """A new job, or the one that already does this."""
        for job in self.workspace.jobs.page(actor, kinds=[kind], active=True):
            if job.params == params:
                return self.workspace.jobs.revive(actor, job)
        return self.workspace.jobs.submit(actor, kind, title, params)
