"""Rows that filters pass only because nobody has looked at them yet.

Some filters read what a job of its own found: leaks of benchmarks, nearness to other datasets, the
likelihood of answers. Rows that came since then have no such score and stay. `unseen` counts them;
`bring_up` makes what can be made without a question, before settings are applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill_studio.curate.filters import ContaminatedConfig, LikelihoodConfig, ReferenceConfig
from distill_studio.curate.filters.reference import FLOOR
from distill_studio.curate.reports import CurateSettings, DedupField, Unseen
from distill_studio.services import leak_sets, leak_work, reference_work
from distill_studio.services.jobs import JobContext
from distill_studio.store import leaks, likelihoods, references

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace
    from distill_studio.store.database import Database


def unseen(db: Database, settings: CurateSettings) -> Unseen:
    """How many rows the filters of these settings have not seen.

    The texts of new rows must have their hashes (`refresh_hashes`), and the workspace's own
    evaluation sets their packs (`keep_in_step`).
    """
    found = {"unchecked": 0, "uncompared": 0, "unscored": 0}
    for config in settings.filters:
        if not config.is_on:
            continue
        if isinstance(config, ContaminatedConfig):
            found["unchecked"] = leaks.unchecked_by_any(db, leak_work.RULES)
        elif isinstance(config, ReferenceConfig):
            found["uncompared"] = references.uncompared_rows(db, config.field)
        elif isinstance(config, LikelihoodConfig) and _has_limit(config):
            found["unscored"] = likelihoods.missing_count(db, config.model)[0]
    return Unseen(**found)


def bring_up(
    workspace: Workspace, context: JobContext, settings: CurateSettings, *, compares: bool
) -> None:
    """Check for leaks and compare with other datasets, as far as these settings look at it.

    A dataset that was never compared with is left alone unless the job `compares` anyway: the
    first comparison embeds everything. Likelihoods are a model's work and are never made here.
    """
    used = [config for config in settings.filters if config.is_on]
    if any(isinstance(config, ContaminatedConfig) for config in used):
        workspace.leaks.keep_in_step()
        check_leaks(workspace, context, leaks.names(workspace.db))
    for config in used:
        if isinstance(config, ReferenceConfig):
            names = references.behind(workspace.db, config.field, with_new=compares)
            compare_references(workspace, context, names, config.field)


def check_leaks(workspace: Workspace, context: JobContext, names: Sequence[str]) -> dict[str, int]:
    """Check new and edited rows against benchmarks; name -> how many rows."""
    db = workspace.db
    checked = {}
    for name in names:
        pack = leaks.pack(db, name)
        if pack is None:  # deleted meanwhile
            continue
        own = leak_sets.own_rows(workspace, pack)
        checked[name] = leak_work.check_rows(db, pack, context.progress, context.cancel, own=own)
        context.log(f"Checked {checked[name]} rows against {name}.")
    return checked


def compare_references(
    workspace: Workspace, context: JobContext, names: Sequence[str], field: DedupField
) -> tuple[dict[str, int], str]:
    """Compare new texts with other datasets: (name -> how many texts, the model's id)."""
    if not names:
        return {}, ""
    db = workspace.db
    context.progress(0, None, "loading the embedding model")
    embedder = workspace.studio.models.embedder()
    compared = {}
    for name in names:
        reference = references.by_name(db, name)
        if reference is None:  # deleted meanwhile
            continue
        compared[name] = reference_work.compare(
            db, embedder, reference, field, FLOOR, context.progress, context.cancel
        )
        rows, exact = references.near(db, reference["id"], field, FLOOR)
        context.log(f"{rows} rows from {FLOOR:g} up in {name}, {exact} of them equal.")
    return compared, embedder.model


def _has_limit(config: LikelihoodConfig) -> bool:
    return any((config.max_ifd, config.min_ifd, config.max_perplexity))
