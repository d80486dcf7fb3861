"""Lineage: from a model back to its rows, teachers and people, and from a row to its models."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import NotFound
from distill_studio.core.records import Pair, Record, Run, Seed, Snapshot
from distill_studio.freeze.finder import RowFinder
from distill_studio.freeze.folder import SPLITS
from distill_studio.freeze.formats import PREFERENCE
from distill_studio.services import origins
from distill_studio.services.base import Service
from distill_studio.services.memo import Memo
from distill_studio.store import lineage as table
from distill_studio.store import pairs, runs, seeds, snapshots

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_MOST = 10_000


class Said(Record):
    """A decision about a row."""

    user: str = Field(description="Who.")
    kind: str = Field(description="accept, edit, reject, undo.")
    made_at: datetime = Field(description="UTC.")


class Compared(Record):
    """A preference that a row is part of."""

    id: str = Field(description="Of the preference.")
    source: str = Field(description="person, arena, judge, rule or import.")
    user: str = Field(default="", description="Who voted.")
    outcome: str = Field(description="win, tie or both_bad.")
    is_chosen: bool = Field(description="This row is the better one.")

    @property
    def is_models(self) -> bool:
        """A judge's or a rule's, no person's."""
        return self.source in ("judge", "rule")


class Frozen(Record):
    """A snapshot that holds a row."""

    snapshot: str = Field(description="Its name.")
    split: str = Field(description="train or validation.")
    part: str = Field(description="answer, chosen or rejected.")


class Learnt(Record):
    """A model that learnt from a row, or goes on from or was taught by one that did."""

    run: str = Field(description="Name of its run.")
    method: str = Field(description="sft, dpo, ...")
    state: str = Field(description="Of the run.")
    through: str = Field(description="The snapshot, or the run it goes on from or was taught by.")
    way: Literal["rows", "base", "teacher"] = Field(
        description="It trained on the row; it goes on from such a model; such a model taught it."
    )
    is_direct: bool = Field(description="It trained on the row itself.")


class RowLineage(Record):
    """Where a row came from, who said what of it, and which models learnt from it."""

    pair: Pair = Field(description="The row, with teacher, recipe, settings and job.")
    seed: Seed | None = Field(default=None, description="Its prompt; None where it was deleted.")
    decisions: list[Said] = Field(description="Oldest first.")
    preferences: list[Compared] = Field(description="Comparisons that it is part of.")
    snapshots: list[Frozen] = Field(description="Where it was frozen.")
    models: list[Learnt] = Field(description="Those that trained on it, then what came of them.")


class ModelStep(Record):
    """One training on the way to a model."""

    run: str = Field(description="Its name.")
    method: str = Field(description="sft, dpo, ...")
    state: str = Field(description="Of the run.")
    base: str = Field(description="What it started from: a model id, or run:<name>.")
    teachers: list[str] = Field(description="Whose probabilities it followed, for such methods.")
    snapshot: str = Field(default="", description="Name of its snapshot.")
    content_hash: str = Field(default="", description="Of the snapshot's rows.")
    rows: int = Field(default=0, description="In its train split.")
    facts: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="Rows by `teachers`, `recipes`, `sources`; what `people` decided.",
    )


class ModelLineage(Record):
    """The trainings that made a model, the first one first, and the models made from it."""

    steps: list[ModelStep] = Field(description="From the base to the model.")
    children: list[str] = Field(description="Runs that go on from it.")
    pupils: list[str] = Field(
        default_factory=list, description="Runs that followed its probabilities."
    )


class LineageService(Service):
    """Where things come from."""

    word = "lineage"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._finder = RowFinder()
        self._memo = Memo(workspace.db)  # counting a snapshot's rows takes a second per million

    def row(self, actor: Actor, pair_id: str) -> RowLineage:
        """A row's way: its prompt, its teacher, people's decisions, snapshots, models.

        Where several vote, others' decisions and preferences are kept from a reviewer as on the
        benches (`review_history`, `prefer_page`).
        """
        actor.require(Role.VIEWER)
        found = pairs.get(self.db, [pair_id])
        if not found:
            raise NotFound(f"There is no row '{pair_id}' in this workspace.")
        compared = [Compared(**row) for row in table.preferences_of(self.db, pair_id)]
        every = snapshots.page(self.db, limit=_MOST)
        frozen = self._frozen(every, pair_id, compared)
        decided = [Said(**row) for row in table.decisions_of(self.db, pair_id)]
        if self.workspace.labelling.hides_decisions(actor, found[0]):
            decided = [one for one in decided if one.user == actor.user]
        if self.workspace.labelling.hides_others(actor):  # as `prefer_page`, but for models' words
            compared = [one for one in compared if one.user == actor.user or one.is_models]
        return RowLineage(
            pair=found[0],
            seed=next(iter(seeds.get(self.db, [found[0].seed_id])), None),
            decisions=decided,
            preferences=compared,
            snapshots=frozen,
            models=self._learnt(every, {one.snapshot for one in frozen if one.split == "train"}),
        )

    def model(self, actor: Actor, run: str) -> ModelLineage:
        """A model's way: each training with its snapshot, and what that was made of."""
        actor.require(Role.VIEWER)
        way = origins.way(self.workspace, run)
        if not way:
            raise NotFound(f"There is no run '{run}' in this workspace.")
        by_id = {one.id: one for one in snapshots.page(self.db, limit=_MOST)}
        mine, every = way[-1], runs.page(self.db, limit=_MOST)
        return ModelLineage(
            steps=[self._step(one, by_id.get(one.snapshot_id)) for one in way],
            children=sorted(o.name for o in every if origins.goes_on_from(self.workspace, o, mine)),
            pupils=sorted(
                o.name for o in every if o.created_at > mine.created_at and run in self._mentors(o)
            ),
        )

    # -- inside ---------------------------------------------------------------------------

    def _files(self, snapshot: Snapshot) -> dict[str, Path]:
        folder = self.workspace.folder / "snapshots" / snapshot.name
        files = {split: folder / f"{split}.parquet" for split in SPLITS}
        return {split: file for split, file in files.items() if file.exists()}

    def _frozen(
        self, every: list[Snapshot], pair_id: str, compared: list[Compared]
    ) -> list[Frozen]:
        """The snapshots that hold a row, or a comparison that it is part of."""
        parts = {one.id: "chosen" if one.is_chosen else "rejected" for one in compared}
        found = []
        for snapshot in every:
            wanted = list(parts) if snapshot.format == PREFERENCE else [pair_id]
            for split, file in self._files(snapshot).items() if wanted else ():
                found += [
                    Frozen(snapshot=snapshot.name, split=split, part=parts.get(each, "answer"))
                    for each in sorted(self._finder.find(file, wanted))
                ]
        return found

    def _learnt(self, frozen: list[Snapshot], names: set[str]) -> list[Learnt]:
        """Runs on the snapshots of these names, then those that grew from them or follow them."""
        ids = {one.id: one.name for one in frozen}
        every = runs.page(self.db, limit=_MOST)[::-1]
        found: dict[str, Learnt] = {}
        for one in every:  # the oldest first: what goes on from a run is younger
            snapshot, origin = ids.get(one.snapshot_id, ""), origins.origin(self.workspace, one)
            mentor = next((name for name in self._mentors(one) if name in found), "")
            way: Literal["rows", "base", "teacher"]
            if snapshot in names:
                way, through = "rows", snapshot
            elif origin in found:
                way, through = "base", origin
            elif mentor:
                way, through = "teacher", mentor
            else:
                continue
            found[one.name] = Learnt(
                run=one.name,
                method=one.method,
                state=one.state.value,
                through=through,
                way=way,
                is_direct=way == "rows",
            )
        return sorted(found.values(), key=lambda learnt: not learnt.is_direct)

    def _mentors(self, run: Run) -> list[str]:
        """The runs whose students this one followed."""
        found = (origins.behind(self.workspace, *one) for one in _teachers(run))
        return [name for name in found if name]

    def _step(self, run: Run, snapshot: Snapshot | None) -> ModelStep:
        facts: dict[str, Any] = {}
        if snapshot is not None and (files := list(self._files(snapshot).values())):
            are_preferences = snapshot.format == PREFERENCE
            facts = self._memo.get(
                snapshot.id,
                lambda: table.facts_of_rows(self.db, files, are_preferences=are_preferences),
            )
        return ModelStep(
            run=run.name,
            method=run.method,
            state=run.state.value,
            base=origins.base(self.workspace, run),
            teachers=[origins.named(self.workspace, *one) for one in _teachers(run)],
            snapshot=snapshot.name if snapshot else "",
            content_hash=snapshot.content_hash if snapshot else "",
            rows=snapshot.train_rows if snapshot else 0,
            facts=facts,
        )


def _teachers(run: Run) -> list[tuple[str, str]]:
    """(id, folder) of whose probabilities a run follows, as its settings name them."""
    taught = [run.config.get("teacher"), *(run.config.get("more_teachers") or ())]
    return [(str(one["id"]), str(one.get("folder", ""))) for one in taught if one]
