"""Benchmarks that nobody has to add: the workspace's own evaluation sets.

A snapshot's validation split, the suites, and the prompts that comparison sets were given are what
students are measured on here, so rows are checked against them as against any benchmark.
`keep_in_step` makes, renews and drops their packs; it is quick when nothing changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.core.records import Message
from distill_studio.curate.text import conversation_text, normalise, text_hash
from distill_studio.evaluate.prompts import held_out_prompts
from distill_studio.freeze.folder import MANIFEST, read_manifest
from distill_studio.services import curation_work
from distill_studio.services.item_files import MAX_ITEMS
from distill_studio.services.leak_work import item_row, pack_row
from distill_studio.store import jobs, leaks, snapshots, suites
from distill_studio.store.database import Row

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

VALIDATION, PROMPTS, SUITE = "validation", "prompts", "suite"
_MOST_SETS = 1000


@dataclass(frozen=True)
class OwnSet:
    """An evaluation set of this workspace, before its prompts are read."""

    kind: str
    origin: str  # changes when its prompts do
    name: str
    source: str
    folder: Path | None = None  # of the snapshot
    prompts: tuple[str, ...] = ()


def keep_in_step(workspace: Workspace) -> None:
    """Make packs of new evaluation sets, renew those that changed, forget those that are gone.

    Several may look at once: whoever sees a difference looks again alone before writing. Items are
    keyed first: what is said of one from here on is said of the key that it keeps.
    """
    curation_work.refresh_leak_items(workspace.db)
    if _differences(workspace) == ([], []):
        return
    with workspace.db.write(is_quiet=True):  # quiet where it turns out that nothing is written
        gone, new = _differences(workspace)
        # Given prompts are one set that grows; snapshots and suites are others each time.
        before = next((row for row in gone if row["kind"] == PROMPTS), None)
        for one in new:
            _add(workspace, one, before if one.kind == PROMPTS else None)
        for row in gone:
            leaks.delete_pack(workspace.db, row["id"])


def _differences(workspace: Workspace) -> tuple[list[Row], list[OwnSet]]:
    """(packs whose evaluation set is gone, evaluation sets without a pack)."""
    sets = [*_splits(workspace), *_suites(workspace), *_given_prompts(workspace)]
    wanted = {one.origin: one for one in sets}
    known = {row["origin"]: row for row in leaks.own_packs(workspace.db)}
    gone = [row for origin, row in known.items() if origin not in wanted]
    return gone, [one for origin, one in wanted.items() if origin not in known]


def own_rows(workspace: Workspace, pack: Row) -> frozenset[str]:
    """Ids of the pairs that are the evaluation set: they hold its items by nature."""
    if pack["kind"] != VALIDATION:
        return frozenset()
    name = snapshots.name_of(workspace.db, pack["origin"])
    folder = workspace.folder / "snapshots" / name
    if not name or not (folder / MANIFEST).is_file():
        return frozenset()
    manifest = read_manifest(folder)
    ids = manifest["splits"].get("validation", {}).get("row_ids", [])
    compared: dict[str, list[str]] = manifest.get("pair_ids", {})  # of a preference: both answers
    return frozenset(pair_id for one in ids for pair_id in compared.get(one, [one]))


def _splits(workspace: Workspace) -> Iterable[OwnSet]:
    for row in snapshots.with_validation(workspace.db):
        folder = workspace.folder / "snapshots" / row["name"]
        if (folder / "validation.parquet").is_file():
            name = f"{row['name']}: validation split"
            source = f"snapshot {row['name']}"
            yield OwnSet(VALIDATION, row["id"], name, source, folder)


def _given_prompts(workspace: Workspace) -> Iterable[OwnSet]:
    """The prompts of all comparison sets that were given by people, as one set."""
    found: dict[str, None] = {}
    for job in jobs.page(workspace.db, kinds=["compare_set"], limit=_MOST_SETS):
        if job.params.get("is_given"):
            for turns in job.params["prompts"]:
                found[conversation_text([Message(**turn) for turn in turns])] = None
    prompts = tuple(sorted(found))
    if prompts:
        origin = f"prompts:{text_hash(json.dumps(prompts))}"
        yield OwnSet(PROMPTS, origin, "Evaluation prompts", "comparison sets", prompts=prompts)


def _suites(workspace: Workspace) -> Iterable[OwnSet]:
    for suite in suites.all_suites(workspace.db):
        yield OwnSet(SUITE, suite.id, f"Suite {suite.name}", suite.source)


def _add(workspace: Workspace, one: OwnSet, before: Row | None) -> None:
    """Make the pack of a set, in place of the one that it had `before`."""
    db = workspace.db
    prompts: Sequence[str] = one.prompts
    if one.kind == SUITE:
        found = suites.items(db, one.origin, limit=MAX_ITEMS)
        prompts = [conversation_text(item.messages) for item in found]
    if one.folder is not None:
        split = one.folder / "validation.parquet"
        prompts = [conversation_text(turns) for turns in held_out_prompts(split, MAX_ITEMS)]
    different = list({normalise(text): text for text in prompts if text.strip()}.values())
    if not different:
        return
    items = [item_row(number, text) for number, text in enumerate(different)]
    name = before["name"] if before else _free_name(workspace, one.name)
    row = pack_row(name, one.source, "", items)
    row |= {"kind": one.kind, "origin": one.origin}
    if before:
        leaks.renew_pack(db, before["id"], row, items)
    else:
        leaks.add_pack(db, row, items)


def _free_name(workspace: Workspace, wanted: str) -> str:
    name, number = wanted, 2
    while leaks.pack(workspace.db, name) is not None:
        name, number = f"{wanted} ({number})", number + 1
    return name
