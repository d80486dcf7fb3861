"""Leaks of benchmarks: packs, the check of rows against them, candidates, verdicts.

Nothing is removed here. What was found word for word, or called a leak by a person, is a score
that the filter `contaminated` of *curate* reads: its apply marks rows, keeps those that people
accepted as conflicts, and undoes. What a model says of a candidate (`ask`) is a score of its own,
which that filter reads only where it is told to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound, StudioError
from distill_studio.core.ids import new_id
from distill_studio.core.records import Job
from distill_studio.curate.decontaminate.reports import (
    KnownBenchmark,
    LeakPack,
    LeakQueue,
    LeakReport,
    PackReport,
)
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services import (
    hub_collections,
    hub_packs,
    hub_tokens,
    leak_sets,
    leak_views,
)
from distill_studio.services import leak_work as work
from distill_studio.services.asking import Asking
from distill_studio.services.base import Service
from distill_studio.services.curation_fresh import check_leaks
from distill_studio.services.hub_collections import (
    CollectedPack,
    CollectionReport,
    HubCollection,
    HubCollectionItem,
)
from distill_studio.services.hub_data import HubPlace
from distill_studio.services.jobs import JobContext
from distill_studio.services.leak_judging import LeakJudge
from distill_studio.services.memo import Memo
from distill_studio.store import leak_opinions as opinions
from distill_studio.store import leaks as table
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

JOB_KINDS = ("leak_check", "leak_hub", "leak_collection", "leak_candidates", "leak_judge")
NEAREST = 3  # prompts kept for each item
FLOOR = 0.5  # least cosine of a candidate
ASKED = 200  # candidates a model reads, from the top
_MAX_NAME = 80


class LeaksService(Service):
    """Leaks: what of a benchmark is in the rows."""

    word = "leaks"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._memo = Memo(workspace.db)
        workspace.jobs.register("leak_check", self._run_check, lane="io")
        workspace.jobs.register("leak_hub", self._run_hub, lane="io")
        workspace.jobs.register("leak_collection", self._run_collection, lane="io")
        workspace.jobs.register("leak_candidates", self._run_candidates, lane="compute")
        workspace.jobs.register("leak_judge", self._run_judge, lane="io")

    # -- packs ----------------------------------------------------------------------------

    def packs(self, actor: Actor) -> list[LeakPack]:
        """The benchmarks that rows are checked against: those added, by name, then the
        workspace's own (validation splits of snapshots, prompts of comparison sets)."""
        actor.require(Role.VIEWER)
        return [leak_views.pack(row) for row in self._packs()]

    def known(self, actor: Actor) -> list[KnownBenchmark]:
        """Public benchmarks that `add_known` fetches by their name."""
        actor.require(Role.VIEWER)
        return list(hub_packs.known())

    def add_known(self, actor: Actor, name: str) -> Job:
        """Fetch a well-known benchmark (see `known`) from the Hub, in a job; needs a network."""
        actor.require(Role.REVIEWER)
        found = hub_packs.known_named(name)
        params = {"known": found.name, **hub_tokens.for_job(self.workspace, actor)}
        return self.workspace.jobs.submit_once(actor, "leak_hub", f"Get {found.name}", params)

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
            **hub_tokens.for_job(self.workspace, actor),
        }
        return self.workspace.jobs.submit(actor, "leak_hub", f"Get {dataset.strip()}", params)

    def collection(self, actor: Actor, collection: str) -> HubCollection:
        """What a collection of the Hub (slug or address), or a list of datasets, holds.

        Nothing of it is fetched yet.
        """
        actor.require(Role.REVIEWER)
        token = hub_tokens.token(self.workspace, is_owner=actor.role >= Role.OWNER)
        return hub_collections.look(collection, token)

    def add_collection(
        self, actor: Actor, collection: str, datasets: list[str] | None = None
    ) -> Job:
        """Add the datasets of a collection (or some of them) as benchmarks, in a job.

        Its result is a collection report: each that was added, or the reason why not.
        """
        actor.require(Role.REVIEWER)
        found = self.collection(actor, collection)
        unknown = set(datasets or ()) - {one.dataset for one in found.items}
        if unknown:
            raise NotFound(f"'{found.title}' does not hold {', '.join(sorted(unknown))}.")
        chosen = [one for one in found.items if datasets is None or one.dataset in datasets]
        if not chosen:
            raise InvalidInput("No dataset is chosen.", "Choose one at least.")
        params = {
            "title": found.title,
            "items": [one.model_dump() for one in chosen],
            **hub_tokens.for_job(self.workspace, actor),
        }
        title = f"Add the benchmarks of {found.title}"
        return self.workspace.jobs.submit(actor, "leak_collection", title, params)

    def delete(self, actor: Actor, name: str) -> str:
        """Forget a benchmark and what was found with it; verdicts stay for when it comes again."""
        actor.require(Role.OWNER)
        pack = self._pack(name)
        if pack["kind"] != "benchmark":
            raise Conflict(
                f"'{name}' is an evaluation set of this workspace and counts by itself.",
                f"It goes when what it comes from goes: {pack['source']}.",
            )
        table.delete_pack(self.db, pack["id"])
        return name

    # -- finding --------------------------------------------------------------------------

    def check(self, actor: Actor, names: list[str] | None = None) -> Job:
        """Check new and edited rows against these benchmarks, or all."""
        actor.require(Role.REVIEWER)
        chosen = self._chosen(names)
        return self.workspace.jobs.submit_once(
            actor, "leak_check", "Look for benchmark leaks", {"packs": chosen}
        )

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
        return self.workspace.jobs.submit_once(
            actor, "leak_candidates", "Look for reworded leaks", params
        )

    def ask(
        self, actor: Actor, teacher: str, names: list[str] | None = None, most: int = ASKED
    ) -> Job:
        """Let a model read the first `most` candidates: is it the same problem, in other words?

        Its opinions stand beside the candidates with its name. They remove nothing unless the
        filter `contaminated` is set to `by_model`; a person's verdict always wins. Stops and
        resumes without loss; what it has read with this prompt is not asked again.
        """
        actor.require(Role.REVIEWER)
        if not 1 <= most <= 100_000:
            raise InvalidInput("A model can read 1 to 100,000 candidates.")
        chosen = self._chosen(names)
        config = self.workspace.teachers.config(teacher)
        if not sum(one.open for one in self._reports() if one.pack.name in chosen):
            raise InvalidInput(
                "There is no candidate to read.", "Look for reworded questions first."
            )
        params = {"packs": chosen, "teacher": config.name, "most": most}
        return self.workspace.jobs.submit_once(
            actor, "leak_judge", f"Let {config.name} read candidates", params
        )

    # -- looking --------------------------------------------------------------------------

    def reports(self, actor: Actor) -> list[LeakReport]:
        """What is known about every benchmark, in counts: without finds to look at."""
        actor.require(Role.VIEWER)
        return self._reports()

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
        row = self._pack(name)
        known = next((one for one in self._reports() if one.pack.name == name), None)
        if known is None:  # deleted meanwhile
            raise _unknown(name)
        page = max(1, min(limit, 200)), max(0, offset)
        found = self._memo.get(
            ("examples", row["id"], rule, *page),
            lambda: leak_views.examples(self.db, row, rule, *page),
        )
        return known.model_copy(update={"examples": found})

    def queue(
        self,
        actor: Actor,
        name: str = "",
        judged: bool = False,
        limit: int = 20,
        offset: int = 0,
        opinion: Literal["", "leak", "not_leak", "unsure", "failed"] = "",
    ) -> LeakQueue:
        """Candidates of a benchmark (or of all), likely leaks first; or those judged already.

        With `opinion` only those of which a model said that (`failed`: it gave no readable reply).
        """
        actor.require(Role.VIEWER)
        pack_id = self._pack(name)["id"] if name else ""
        which = judged, opinion, max(1, min(limit, 200)), max(0, offset)

        def found() -> LeakQueue:
            known = [one for one in self._reports() if name in ("", one.pack.name)]
            return leak_views.queue(self.db, known, pack_id, *which)

        return self._memo.get(("queue", pack_id, *which), found)

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

    def keep_in_step(self) -> None:
        """Make packs of the workspace's own evaluation sets; looks again only after a write."""
        self._memo.get("own sets", lambda: leak_sets.keep_in_step(self.workspace))

    def checked(self, pair_ids: Sequence[str]) -> list[Row]:
        """For cards: `name`, `source`, `content_hash` and `items` of each benchmark, and of these
        rows how many are `unchecked` and `leaked`."""
        self.keep_in_step()
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
                is_own=pack["kind"] != "benchmark",
            )
            for name in context.params["packs"]
            if (pack := table.pack(self.db, name))
        }
        return {"candidates": found, "model": embedder.model}

    def _run_judge(self, context: JobContext) -> dict[str, Any]:
        asked = context.params
        self.keep_in_step()
        packs = [pack["id"] for name in asked["packs"] if (pack := table.pack(self.db, name))]
        teacher = asked["teacher"]
        with Asking(self.workspace, context.job.id) as asking:
            judge = LeakJudge(self.db, asking, asking.teacher(teacher), teacher, context)
            said = judge.run(packs, int(asked["most"]))
        lost = said["unreadable"] + said["failed"]
        if lost:
            context.log(f"{lost} replies were no use; the candidates say why. Ask again for them.")
        result = {"said": opinions.counts_of_job(self.db, context.job.id), "teacher": teacher}
        return result | {"cost_usd": asking.cost_usd}

    def _run_hub(self, context: JobContext) -> dict[str, Any]:
        asked, path = context.params, self._new_path()
        token = hub_tokens.of_job(self.workspace, asked)
        if "known" in asked:
            got = hub_packs.fetch_known(hub_packs.known_named(asked["known"]), token, path)
        else:
            parts = {part: asked[part] for part in ("dataset", "config", "split")}
            got = hub_packs.fetch(HubPlace(**parts), token, path, asked["name"])
        mapping = ColumnMapping(**asked["mapping"]) if asked.get("mapping") else got.mapping
        added = self._add(context.actor.user, got.path, got.name, got.source, mapping)
        return added.model_dump(mode="json")

    def _run_collection(self, context: JobContext) -> dict[str, Any]:
        token = hub_tokens.of_job(self.workspace, context.params)
        items = [HubCollectionItem(**one) for one in context.params["items"]]
        made: list[CollectedPack] = []
        for number, item in enumerate(items):
            context.cancel.raise_if_cancelled()
            context.progress(number, len(items), item.dataset)
            made += self._collected(context.actor.user, item, token)
        context.progress(len(items), len(items))
        report = CollectionReport(title=context.params["title"], packs=made)
        return report.model_dump(mode="json")

    def _collected(
        self, user: str, item: HubCollectionItem, token: hub_tokens.Token
    ) -> list[CollectedPack]:
        """What becomes of one dataset; a failure costs that one only."""
        if item.place is None:
            return [CollectedPack(dataset=item.dataset, problem=item.problem)]
        made = []
        try:
            for got in hub_collections.packs_of(item.place, token, self._new_path):
                added = self._add(user, got.path, got.name, got.source, got.mapping)
                pack = CollectedPack(
                    dataset=item.dataset,
                    name=added.pack.name,
                    items=added.pack.items,
                    is_new=added.is_new,
                )
                made.append(pack)
        except StudioError as err:
            made.append(CollectedPack(dataset=item.dataset, problem=str(err)))
        return made

    def _new_path(self) -> Path:
        return self.workspace.studio.uploads.new_path("benchmark.jsonl")[1]

    def _check_all(self, context: JobContext) -> dict[str, int]:
        return check_leaks(self.workspace, context, context.params["packs"])

    # -- inside ---------------------------------------------------------------------------

    def _packs(self) -> list[Row]:
        """All packs with their unchecked rows, counted again only after a write."""
        self.keep_in_step()
        return self._memo.get("packs", lambda: table.packs(self.db, work.RULES))

    def _reports(self) -> list[LeakReport]:
        self.keep_in_step()  # it may write: not while an answer is being made
        return self._memo.get("reports", lambda: leak_views.reports(self.db, self._packs()))

    def _add(
        self, user: str, path: Path, name: str, source: str, mapping: ColumnMapping | None
    ) -> PackReport:
        name = " ".join(name.split())[:_MAX_NAME]
        read = work.read_pack(path, mapping)
        self.keep_in_step()
        known = table.pack_with_hash(self.db, work.content_hash(read.items))
        if known is None:
            if table.pack(self.db, name) is not None:
                raise Conflict(
                    f"There is a benchmark '{name}' already, with other items.",
                    "Give this one another name, or delete the other first.",
                )
            table.add_pack(self.db, work.pack_row(name, source, user, read.items), read.items)
        name = known["name"] if known else name
        row = next(row for row in self._packs() if row["name"] == name)
        return PackReport(
            pack=leak_views.pack(row),
            problem_count=read.problem_count,
            problems=read.problems,
            is_new=known is None,
        )

    def _pack(self, name: str) -> Row:
        self.keep_in_step()
        found = table.pack(self.db, name)
        if found is None:
            raise _unknown(name)
        return found

    def _chosen(self, names: list[str] | None) -> list[str]:
        if names is not None:
            return [self._pack(name)["name"] for name in names]
        self.keep_in_step()
        found = table.names(self.db)
        if not found:
            raise InvalidInput("There is no benchmark to check against.", "Add one first.")
        return found


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no benchmark '{name}' in this workspace.")
