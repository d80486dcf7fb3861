"""From settings and what is stored to the rows that go, and why. Nothing is written here."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from distill_studio.curate.dedup.groups import (
    Contender,
    Edges,
    Grouping,
    Lost,
    Verdict,
    keep_first,
)
from distill_studio.curate.filters import FilterConfig, Limit
from distill_studio.curate.reports import DEFAULT_FLOOR, CurateSettings
from distill_studio.store import curation, embeddings
from distill_studio.store.curation import LimitRow, TargetRow
from distill_studio.store.database import Database, Row

Verdicts = dict[tuple[str, str], Verdict]


@dataclass(frozen=True)
class DedupBase:
    """What every threshold needs: the rows that may lose or win, and all that is near."""

    model: str
    floor: float
    contenders: Sequence[Contender]
    edges: Edges
    verdicts: Verdicts


@dataclass(frozen=True)
class DedupPlan:
    """Groups at a threshold, and what they were made of (everything from the floor up)."""

    base: DedupBase
    threshold: float
    grouping: Grouping


@dataclass(frozen=True)
class Plan:
    """What applying the settings would do.

    drops: rows that a filter drops; protected: rows that fail but a person accepted them.
    """

    settings: CurateSettings
    drops: list[Row]
    protected: list[Row]
    dedup: DedupPlan
    targets: list[TargetRow] = field(default_factory=list)


def limit_rows(filters: Sequence[FilterConfig]) -> list[LimitRow]:
    """The limits of all filters that are on, as the store takes them."""
    return [
        LimitRow(position, config.kind, limit.measure, limit.minimum, limit.maximum)
        for position, config in enumerate(filters)
        if config.is_on
        for limit in config.limits()
    ]


def limits_by_measure(filters: Sequence[FilterConfig]) -> dict[str, Limit]:
    """The limits themselves, for reasons in words."""
    return {limit.measure: limit for config in filters for limit in config.limits()}


def plan(db: Database, settings: CurateSettings, base: DedupBase | None = None) -> Plan:
    """What applying `settings` would do to every row."""
    failing = curation.filter_drops(db, limit_rows(settings.filters))
    drops: list[Row] = []
    protected: list[Row] = []
    for row in failing:
        is_accepted = row["status"] == "accepted" and not settings.remove_accepted
        (protected if is_accepted else drops).append(row)
    dedup = plan_dedup(base or dedup_base(db, settings), settings)
    settings = settings.model_copy(update={"threshold": dedup.threshold})
    made = Plan(settings, drops, protected, dedup)
    made.targets.extend(_targets(made))
    return made


def dedup_base(db: Database, settings: CurateSettings) -> DedupBase:
    """Near and equal rows among those that pass the filters, whatever the threshold."""
    state = embeddings.search_state(db, settings.field)
    model = state["model"] if state else ""
    floor = float(state["floor"]) if state else DEFAULT_FLOOR
    rows = curation.contenders(
        db,
        limit_rows(settings.filters),
        model=model,
        field=settings.field,
        at_least=floor,
        drop_accepted=settings.remove_accepted,
    )
    contenders = [Contender(**row) for row in rows]
    edges = _edges(db, model, settings.field, floor, contenders)
    verdicts = {
        (row["a_id"], row["b_id"]): Verdict(row["verdict"]) for row in curation.verdicts(db)
    }
    return DedupBase(model, floor, contenders, edges, verdicts)


def plan_dedup(base: DedupBase, settings: CurateSettings) -> DedupPlan:
    """Groups at the settings' threshold; one below the floor of what was stored counts as that."""
    threshold = max(settings.threshold, base.floor) if base.model else settings.threshold
    near = base.edges.similarity >= threshold
    grouping = keep_first(
        base.contenders,
        Edges(base.edges.a[near], base.edges.b[near], base.edges.similarity[near]),
        spare_copies=settings.field == "prompt",
        verdicts=base.verdicts,
        remove_protected=settings.remove_accepted,
    )
    return DedupPlan(base, threshold, grouping)


def _edges(
    db: Database,
    model: str,
    field_: embeddings.Field,
    floor: float,
    contenders: Sequence[Contender],
) -> Edges:
    """Stored near pairs between units that the contenders have."""
    a, b, similarity = embeddings.near_pairs(db, model, field_, floor)
    units = np.unique(np.array([c.unit for c in contenders if c.unit >= 0], dtype=np.int64))
    live = np.isin(a, units) & np.isin(b, units)
    return Edges(a[live], b[live], similarity[live])


def _targets(made: Plan) -> list[TargetRow]:
    limits = limits_by_measure(made.settings.filters)
    found = [
        TargetRow(
            row["pair_id"],
            "filtered",
            f"{row['kind']}: {limits[row['measure']].reason(row['score'], row['note'])}",
            row["kind"],
            row["score"],
            "",
        )
        for row in made.drops
    ]
    found += [_duplicate(lost, made.settings.field) for lost in made.dedup.grouping.removed]
    return found


def _duplicate(lost: Lost, field_: str) -> TargetRow:
    what = {"prompt": "prompt", "answer": "answer", "both": "prompt and answer"}[field_]
    if lost.is_exact:
        reason = f"same {what} as {lost.to}"
    else:
        reason = f"near-duplicate of {lost.to}: {what} {lost.similarity:.3f} alike"
    code = "exact" if lost.is_exact else "near"
    return TargetRow(lost.id, "duplicate", reason, code, lost.similarity, lost.to)
