"""Freeze: a dataset that never changes, in `<workspace>/snapshots/<name>/`."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.agreement.tables import AgreementRow
from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.records import Record, Snapshot
from distill_studio.core.records.base import utc_now
from distill_studio.freeze.folder import SnapshotWriter, read_rows, verify
from distill_studio.freeze.formats import FORMATS, PREFERENCE, STYLES
from distill_studio.freeze.options import FreezeOptions
from distill_studio.freeze.split import SplitRow, choose_validation, groups
from distill_studio.services import freeze_facts, freeze_rows
from distill_studio.services.agreement_views import Measured
from distill_studio.services.base import Service
from distill_studio.services.freeze_rows import Selection
from distill_studio.store import pairs, snapshots
from distill_studio.store.agreement import has_shared_decisions
from distill_studio.store.pairs import PairQuery

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

MOST_LISTED = 1000  # snapshots in one answer
_NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")
_EXAMPLES = 3
_QUICK_ROWS = 5000


class FreezePreview(Record):
    """What a snapshot would hold."""

    format: str = Field(description="messages, prompt_completion, preference, unpaired.")
    rows: int = Field(description="Rows in all.")
    train_rows: int = Field(description="Rows to train on.")
    validation_rows: int = Field(description="Rows kept for validation.")
    groups: int = Field(description="Groups of rows that must stay on one side.")
    left_out: dict[str, int] = Field(description="Rows left out, by reason.")
    teachers: dict[str, dict[str, Any]] = Field(description="Teacher to rows and licence note.")
    warnings: list[str] = Field(description="What to look at before training on it.")
    examples: list[dict[str, Any]] = Field(description="The first rows in their final form.")
    is_estimate: bool = Field(
        default=False, description="True when the split was not worked out, only its share."
    )


class FreezeService(Service):
    """Freeze: snapshots of chosen rows."""

    word = "freeze"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._verified: dict[str, tuple[int, ...]] = {}
        self._creating = threading.Lock()

    # -- operations -----------------------------------------------------------------------

    def preview(
        self,
        actor: Actor,
        format: str = "messages",
        query: PairQuery | None = None,
        validation_share: float = 0.1,
        include_reasoning: bool = False,
        system_prompt: str = "",
        quick: bool = False,
    ) -> FreezePreview:
        """What a snapshot would hold; stores nothing. Arguments as in `create`.

        With `quick`, more than 5,000 pairs are only counted, and their split is an estimate.
        """
        actor.require(Role.VIEWER)
        query = self.workspace.labelling.visible_pairs(actor, query or PairQuery())
        options = _options(validation_share, include_reasoning, system_prompt)
        if quick and format in STYLES:
            wanted = freeze_rows.usable(query, format)
            count = pairs.count(self.db, wanted)
            if count > _QUICK_ROWS:
                return self._estimate(Selection(format, wanted), count, options)
        selection = self._select(format, query)
        grouped = groups(selection.rows)
        validation = choose_validation(grouped, options.validation_share)
        shown = Selection(
            selection.format,
            selection.query,
            rows=selection.rows[:_EXAMPLES],
            compared=selection.compared,
        )
        teachers_ = self._with_notes(snapshots.teachers_of(self.db, selection.pair_ids))
        return FreezePreview(
            format=format,
            rows=len(selection.rows),
            train_rows=len(selection.rows) - len(validation),
            validation_rows=len(validation),
            groups=len(grouped),
            left_out=selection.left_out,
            teachers=teachers_,
            warnings=_warnings(selection, grouped, validation, teachers_, options)
            + _near_warnings(self._near_checked(selection))
            + _leak_warnings(self.workspace.leaks.checked(selection.pair_ids)),
            examples=next(freeze_rows.shaped_rows(self.db, shown, options), []),
        )

    def create(
        self,
        actor: Actor,
        name: str,
        format: str = "messages",
        query: PairQuery | None = None,
        validation_share: float = 0.1,
        include_reasoning: bool = False,
        system_prompt: str = "",
    ) -> Snapshot:
        """Freeze the rows of a query under a name.

        Formats: messages and prompt_completion (of pairs), preference (of preferences with a
        winner), unpaired (of pairs, accepted and rejected ones with a label, for KTO). Where the
        query leaves status and curation open, pairs must be accepted and kept.
        """
        actor.require(Role.REVIEWER)
        query = self.workspace.labelling.visible_pairs(actor, query or PairQuery())
        options = _options(validation_share, include_reasoning, system_prompt)
        with self._creating:
            return self._create(actor, name, self._select(format, query), options)

    def page(self, actor: Actor, after: str = "", limit: int = 50) -> list[Snapshot]:
        """Snapshots, newest first, from the id `after` on."""
        actor.require(Role.VIEWER)
        return snapshots.page(self.db, after=after, limit=max(1, min(limit, MOST_LISTED)))

    def get(self, actor: Actor, name: str) -> Snapshot:
        """One snapshot; fails when its files are not what was frozen."""
        actor.require(Role.VIEWER)
        snapshot = self._get(name)
        self._verify(name)
        return snapshot

    def rows(
        self, actor: Actor, name: str, split: str = "train", offset: int = 0, limit: int = 20
    ) -> list[dict[str, Any]]:
        """Some rows of a split (train or validation)."""
        actor.require(Role.VIEWER)
        self._get(name)
        self._verify(name)
        if split not in ("train", "validation"):
            raise InvalidInput(f"There is no split '{split}'.", "Use train or validation.")
        return read_rows(self._folder(name), split, max(0, offset), max(1, min(limit, 1000)))

    def delete(self, actor: Actor, name: str) -> str:
        """Move a snapshot to the trash folder; returns its new place within the data folder.

        Raises:
            Conflict: A training that is not done needs it.
        """
        actor.require(Role.OWNER)
        self._get(name)
        with self.workspace.distill.unneeded(self._folder(name), f"the snapshot '{name}'"):
            place = self._to_trash(name)
            snapshots.delete(self.db, name)
            self._verified.pop(name, None)
        return place

    # -- for other services ---------------------------------------------------------------

    def folder(self, snapshot_name: str) -> Path:
        """The verified folder of a snapshot, for training and export.

        Raises:
            NotFound: No such snapshot.
            Conflict: Its files are not what was frozen.
        """
        self._get(snapshot_name)
        self._verify(snapshot_name)
        return self._folder(snapshot_name)

    # -- inside ---------------------------------------------------------------------------

    def _create(
        self, actor: Actor, name: str, selection: Selection, options: FreezeOptions
    ) -> Snapshot:
        folder = self._free_folder(name)
        if not selection.rows:
            raise self._nothing(selection)
        grouped = groups(selection.rows)
        validation = choose_validation(grouped, options.validation_share)
        writer = SnapshotWriter(folder, FORMATS[selection.format])
        try:
            for page in freeze_rows.shaped_rows(self.db, selection, options):
                writer.add("train", [row for row in page if row["id"] not in validation])
                writer.add("validation", [row for row in page if row["id"] in validation])
            facts = self._facts(actor, name, selection, options)
            facts["groups"] = {"count": len(grouped), "largest": max(map(len, grouped))}
            facts["warnings"] = _warnings(
                selection, grouped, validation, facts["teachers"], options
            )
            facts["warnings"] += _near_warnings(facts["near_checked"])
            facts["warnings"] += _leak_warnings(facts["benchmarks"])
            facts["warnings"] += self._same_as(writer.content_hash)
            manifest = writer.finish(facts, self.workspace.report.for_card(actor))
        finally:
            writer.discard()
        return self._store(actor, name, manifest)

    def _select(self, row_format: str, query: PairQuery | None) -> Selection:
        if row_format not in FORMATS:
            raise InvalidInput(
                f"There is no format '{row_format}'.", f"Use one of: {', '.join(FORMATS)}."
            )
        return freeze_rows.select(self.db, row_format, query, self.workspace.curate.near_groups)

    def _estimate(self, selection: Selection, count: int, options: FreezeOptions) -> FreezePreview:
        first = pairs.page(
            self.db, selection.query.model_copy(update={"after": "", "limit": _EXAMPLES})
        )
        validation = round(count * options.validation_share)
        shape = STYLES[selection.format]
        return FreezePreview(
            format=selection.format,
            rows=count,
            train_rows=count - validation,
            validation_rows=validation,
            groups=0,
            left_out=snapshots.left_out(self.db, selection.query),
            teachers=self._with_notes(snapshots.teachers_matching(self.db, selection.query)),
            warnings=[],
            examples=[shape.to_row(pair, options) for pair in first],
            is_estimate=True,
        )

    def _near_checked(self, selection: Selection) -> dict[str, int]:
        """Of how many answers a search for near-duplicates has looked at `rows`."""
        ids = selection.pair_ids
        return {"rows": self.workspace.curate.compared_count(ids) if ids else 0, "of": len(ids)}

    def _with_notes(self, rows: dict[str, int]) -> dict[str, dict[str, Any]]:
        notes = self.workspace.teachers.licence_notes()
        return {
            name: {"rows": count, "licence_note": notes.get(name, "")}
            for name, count in rows.items()
        }

    def _facts(
        self, actor: Actor, name: str, selection: Selection, options: FreezeOptions
    ) -> dict[str, Any]:
        report = self.workspace.report.dataset(actor)
        are_votes = selection.format == PREFERENCE
        measured: Measured = "votes" if are_votes else "decisions"
        said: Sequence[AgreementRow] = ()
        if are_votes or has_shared_decisions(self.db):
            said = self.workspace.agreement.rows(actor, measured).rows
        origin = snapshots.origin_of(self.db, selection.pair_ids)
        if are_votes:
            origin["people"] = snapshots.voters_of(self.db, list(selection.compared))
        teachers_ = self._with_notes(snapshots.teachers_of(self.db, selection.pair_ids))
        facts: dict[str, Any] = {
            "name": name,
            "workspace": self.workspace.name,
            "format": selection.format,
            "created_at": utc_now().isoformat(),
            "user": actor.user,
            "query": selection.query.model_dump(mode="json", exclude={"after", "limit"}),
            "options": options.model_dump(mode="json"),
            "counts": {"taken": len(selection.rows), "left_out": selection.left_out},
            "teachers": freeze_facts.with_models(teachers_, origin.pop("models")),
            "near_checked": self._near_checked(selection),
            "benchmarks": self.workspace.leaks.checked(selection.pair_ids),
            **origin,
            "filters": freeze_facts.filters(report),
            "agreement": freeze_facts.agreement(said),
        }
        if selection.format == PREFERENCE:
            facts["pair_ids"] = {k: list(both) for k, both in selection.compared.items()}
        return facts

    def _same_as(self, content_hash: str) -> list[str]:
        return [
            f"The snapshot '{name}' holds the very same rows."
            for name in snapshots.with_hash(self.db, content_hash)
        ]

    def _store(self, actor: Actor, name: str, manifest: dict[str, Any]) -> Snapshot:
        splits = {
            split: {key: value for key, value in facts.items() if key != "row_ids"}
            for split, facts in manifest["splits"].items()
        }
        kept = {k: v for k, v in manifest.items() if k != "pair_ids"} | {"splits": splits}
        snapshot = Snapshot(
            name=name,
            format=manifest["format"],
            content_hash=manifest["content_hash"],
            train_rows=splits.get("train", {}).get("rows", 0),
            validation_rows=splits.get("validation", {}).get("rows", 0),
            manifest=kept,
            user=actor.user,
        )
        snapshots.insert(self.db, snapshot)
        return snapshot

    def _get(self, name: str) -> Snapshot:
        snapshot = snapshots.get(self.db, name)
        if snapshot is None:
            raise NotFound(f"There is no snapshot '{name}'.")
        return snapshot

    def _verify(self, name: str) -> None:
        """Compare the files with the manifest, unless they look as they did at the last time."""
        folder = self._folder(name)
        facts = (p.stat() for p in sorted(folder.glob("*")))
        look = tuple(n for s in facts for n in (s.st_size, s.st_mtime_ns, s.st_ctime_ns))
        if not look or self._verified.get(name) != look:
            verify(folder)
            self._verified[name] = look

    def _folder(self, name: str) -> Path:
        return self.workspace.folder / "snapshots" / name

    def _free_folder(self, name: str) -> Path:
        if not _NAME.match(name):
            raise InvalidInput(
                f"'{name}' cannot name a snapshot." if name else "The snapshot has no name yet.",
                "Use up to 63 small letters, digits, dots, - and _, beginning with no sign.",
            )
        if snapshots.get(self.db, name) is not None:
            raise Conflict(f"There is a snapshot '{name}' already.", "Choose another name.")
        if self._folder(name).exists():  # left by a crash between folder and store
            self._to_trash(name)
        return self._folder(name)

    def _to_trash(self, name: str) -> str:
        home = self.workspace.studio.home
        stamp = f"{utc_now():%Y%m%d-%H%M%S-%f}"
        target = home / "trash" / f"{self.workspace.name}-snapshot-{name}-{stamp}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._folder(name).exists():
            shutil.move(self._folder(name), target)
        return str(target.relative_to(home))

    def _nothing(self, selection: Selection) -> InvalidInput:
        if selection.format == PREFERENCE:
            why = _listed(selection.left_out) or "nobody has compared two answers yet"
            return InvalidInput(
                f"There is nothing to freeze: no comparison has a winner ({why}).",
                "Compare answers in Prefer first.",
            )
        if not pairs.counts(self.db)["total"]:
            return InvalidInput(
                "There is nothing to freeze: this workspace has no answers.",
                "Generate or import some, then accept them in Review.",
            )
        why = _listed(selection.left_out) or "no answer matches the filter"
        return InvalidInput(
            f"There is nothing to freeze: no answer is accepted and kept ({why}).",
            "Accept answers in Review first.",
        )


def _options(share: float, include_reasoning: bool, system_prompt: str) -> FreezeOptions:
    if not 0 <= share <= 0.5:
        raise InvalidInput(f"The validation share is {share}.", "Choose one between 0 and 0.5.")
    return FreezeOptions(
        validation_share=share, include_reasoning=include_reasoning, system_prompt=system_prompt
    )


def _warnings(
    selection: Selection,
    grouped: list[list[SplitRow]],
    validation: set[str],
    found: dict[str, dict[str, Any]],
    options: FreezeOptions,
) -> list[str]:
    warnings = []
    notes = {facts["licence_note"].strip() for facts in found.values()}
    if len(notes - {""}) > 1:
        warnings.append("The teachers have different terms; see the list of teachers.")
    unknown = [name or "not named" for name, f in found.items() if not f["licence_note"].strip()]
    if unknown:
        warnings.append(f"No terms are stated for: {', '.join(unknown[:5])}.")
    if options.validation_share > 0 and not validation:
        few = len(selection.rows) < 10
        why = "fewer than ten rows" if few else "all rows belong together"
        warnings.append(f"There is no validation split: {why}.")
    largest = max(map(len, grouped), default=0)
    if len(grouped) > 1 and largest > len(selection.rows) / 2:
        warnings.append(f"{largest} rows belong together and stay in one split.")
    return warnings


def _near_warnings(checked: dict[str, int]) -> list[str]:
    missing = checked["of"] - checked["rows"]
    if not missing:
        return []
    return [
        f"Not compared for near-duplicates: {missing:,} of {checked['of']:,} answers, so"
        " reworded ones may be on both sides of the split (Curate, Find near-duplicates)."
    ]


def _leak_warnings(benchmarks: list[dict[str, Any]]) -> list[str]:
    warnings = []
    for found in benchmarks:
        if found["leaked"]:
            warnings.append(f"Holding items of {found['name']}: {_rows(found['leaked'])}.")
        if found["unchecked"] and found["kind"] == "benchmark":
            rows = _rows(found["unchecked"])
            warnings.append(f"Not checked against {found['name']}: {rows} (Curate, leaks).")
    own = sum(1 for one in benchmarks if one["unchecked"] and one["kind"] != "benchmark")
    if own:
        sets = "evaluation set" if own == 1 else "evaluation sets"
        warnings.append(f"Not checked against {own} {sets} of this workspace (Curate, leaks).")
    return warnings


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _listed(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in list(reasons.items())[:6])
