"""From settings and what is stored to the rows that go, and why. Nothing is written here.

First the filters that look at texts and scores take rows, then near and equal ones among the others
are grouped, then the lists of rows that people set aside count, for those that stand for others or
for themselves alone: a row that is set aside takes its copies along, or they would come back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill_studio.curate.dedup.groups import Edges, Verdict
from distill_studio.curate.dedup.rounds import Contenders, Groups, Losses, group_rows
from distill_studio.curate.dedup.vectors import IntArray
from distill_studio.curate.dedup.within import within_topics
from distill_studio.curate.filters import FilterConfig, Limit, SetAsideConfig
from distill_studio.curate.filters.set_aside import SET_ASIDE, in_force
from distill_studio.curate.reports import DEFAULT_FLOOR, CurateSettings
from distill_studio.store import curation, embeddings
from distill_studio.store.curation import LimitRow
from distill_studio.store.curation_actions import TARGETS
from distill_studio.store.database import Database, Row

Verdicts = dict[tuple[str, str], Verdict]


@dataclass(frozen=True)
class DedupBase:
    """What every threshold needs: the rows that may lose or win, and all that is near.

    topics: the topic of each contender, as a dictionary array; is_aside: (N,) whether each stands
    in a list of rows set aside.
    """

    model: str
    floor: float
    contenders: Contenders
    topics: pa.DictionaryArray
    is_aside: npt.NDArray[np.bool_]
    edges: Edges
    verdicts: Verdicts


@dataclass(frozen=True)
class DedupPlan:
    """Groups at a threshold, and what they were made of (everything from the floor up).

    along: the rows of groups whose first row is set aside; `groups` does not have them.
    """

    base: DedupBase
    threshold: float
    groups: Groups
    along: Losses


@dataclass(frozen=True)
class FilterPlan:
    """What the filters take, whatever is near to what.

    protected: how many rows fail but a person accepted them; targets: a line for each row that
    goes, as `curation_actions.TARGETS` has it; listed: the same for rows that people set aside,
    which go unless another one stands for them; by_topic: `topic`, `kind`, `count` of the targets.
    """

    protected: int
    targets: pa.Table
    listed: pa.Table
    by_topic: list[Row]


@dataclass(frozen=True)
class Plan:
    """What applying the settings would do.

    filtered, duplicates: a line for each row that goes, by itself or for another one, as
    `curation_actions.TARGETS` has it; protected: rows that fail but a person accepted them;
    by_topic: `topic`, `kind`, `count` of all rows that go.
    """

    settings: CurateSettings
    protected: int
    filtered: pa.Table
    dedup: DedupPlan
    duplicates: pa.Table
    by_topic: list[Row]

    @property
    def targets(self) -> pa.Table:
        """A line for each row that goes."""
        return pa.concat_tables([self.filtered, self.duplicates])


def limit_rows(filters: Sequence[FilterConfig], *, with_warnings: bool = False) -> list[LimitRow]:
    """The limits of all filters that drop rows (or also those that only warn), for the store."""
    return [
        LimitRow(position, config.kind, limit.measure, limit.minimum, limit.maximum, limit.notes)
        for position, config in enumerate(filters)
        if config.is_on and (with_warnings or not config.only_warns)
        for limit in config.limits()
    ]


def limits_by_measure(filters: Sequence[FilterConfig]) -> dict[str, Limit]:
    """The limits themselves, for reasons in words."""
    return {limit.measure: limit for config in filters for limit in config.limits()}


def plan(db: Database, settings: CurateSettings) -> Plan:
    """What applying `settings` would do to every row."""
    dedup = plan_dedup(dedup_base(db, settings), settings)
    return joined(db, settings, plan_filters(db, settings), dedup)


def joined(db: Database, settings: CurateSettings, filtered: FilterPlan, dedup: DedupPlan) -> Plan:
    """The whole plan of its two parts, each made with these settings."""
    settings = settings.model_copy(update={"threshold": dedup.threshold})
    aside = _set_aside(filtered.listed, dedup)
    by_topic = [*filtered.by_topic, *curation.topic_counts(db, aside), *_by_topic(dedup)]
    gone = pa.concat_tables([filtered.targets, aside])
    duplicates = _duplicates(dedup, settings)
    return Plan(settings, filtered.protected, gone, dedup, duplicates, by_topic)


def plan_filters(db: Database, settings: CurateSettings) -> FilterPlan:
    """What the filters of the settings take; `remove_accepted` counts, nothing else of them."""
    in_order = [*without_lists(settings.filters), *_lists(settings.filters)]
    failing = curation.filter_drops(db, limit_rows(in_order))
    drops = failing
    if not settings.remove_accepted:
        drops = failing.filter(pc.not_equal(failing["status"], "accepted"))
    is_listed = pc.equal(drops["kind"], SET_ASIDE.kind)
    targets = _filtered(drops.filter(pc.invert(is_listed)), settings)
    return FilterPlan(
        len(failing) - len(drops),
        targets,
        _filtered(drops.filter(is_listed), settings),
        curation.topic_counts(db, targets),
    )


def without_lists(filters: Sequence[FilterConfig]) -> list[FilterConfig]:
    """The filters that look at texts and scores: those that groups are made after."""
    return [one for one in filters if not isinstance(one, SetAsideConfig)]


def _lists(filters: Sequence[FilterConfig]) -> list[FilterConfig]:
    return [one for one in filters if isinstance(one, SetAsideConfig)]


def dedup_base(db: Database, settings: CurateSettings) -> DedupBase:
    """Near and equal rows among those that pass the filters, whatever the threshold."""
    state = embeddings.search_state(db, settings.field, settings.model)
    model = state["model"] if state else ""
    floor = float(state["floor"]) if state else DEFAULT_FLOOR
    found = curation.contenders(
        db,
        limit_rows(without_lists(settings.filters)),
        model=model,
        field=settings.field,
        at_least=floor,
        drop_accepted=settings.remove_accepted,
        priority=settings.near.priority,
        teacher=settings.near.teacher,
        set_aside=in_force(settings.filters),
    )
    rows = Contenders(
        found["id"].combine_chunks(),
        _numbered(found["seed_id"]),
        found["unit"].to_numpy(),
        _numbered(found["exact_key"], none=""),
        found["is_protected"].to_numpy(),
    )
    edges = _edges(db, model, settings.field, floor, rows)
    topics = found["topic"].combine_chunks().dictionary_encode()
    if settings.near.within_topic:
        rows, edges = within_topics(rows, edges, _codes(topics))
    verdicts = {
        (row["a_id"], row["b_id"]): Verdict(row["verdict"]) for row in curation.verdicts(db)
    }
    is_aside = found["is_aside"].to_numpy()
    return DedupBase(model, floor, rows, topics, is_aside, edges, verdicts)


def plan_dedup(base: DedupBase, settings: CurateSettings) -> DedupPlan:
    """Groups at the settings' threshold; one below the floor of what was stored counts as that."""
    threshold = max(settings.threshold, base.floor) if base.model else settings.threshold
    near = base.edges.similarity >= threshold
    grouped = group_rows(
        base.contenders,
        Edges(base.edges.a[near], base.edges.b[near], base.edges.similarity[near]),
        spare_copies=settings.field == "prompt",
        verdicts=base.verdicts,
        remove_protected=settings.remove_accepted,
    )
    removed = grouped.removed
    # What a person accepted is set aside by nothing, not even with another row.
    goes_along = base.is_aside[removed.to] & ~base.contenders.is_protected[removed.row]
    groups = Groups(removed.where(~goes_along), grouped.conflicts)
    return DedupPlan(base, threshold, groups, removed.where(goes_along))


def _numbered(values: pa.ChunkedArray, none: str | None = None) -> IntArray:
    """(N,) equal numbers for equal values, from 0; -1 for `none`."""
    numbers = _codes(values.combine_chunks().dictionary_encode())
    if none is not None:
        numbers[pc.equal(values, none).to_numpy()] = -1
    return numbers


def _codes(values: pa.DictionaryArray) -> IntArray:
    """(N,) the place of each value in the dictionary."""
    codes: IntArray = values.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _edges(
    db: Database, model: str, field_: embeddings.Field, floor: float, rows: Contenders
) -> Edges:
    """Stored near pairs between units that the contenders have."""
    a, b, similarity = embeddings.near_pairs(db, model, field_, floor)
    ends = [int(numbers.max(initial=-1)) for numbers in (rows.unit, a, b)]
    is_live = np.zeros(max(ends) + 1, bool)
    is_live[rows.unit[rows.unit >= 0]] = True
    live = is_live[a] & is_live[b]
    return Edges(a[live], b[live], similarity[live])


def _filtered(drops: pa.Table, settings: CurateSettings) -> pa.Table:
    limits = limits_by_measure(settings.filters)
    columns = [drops[name].to_pylist() for name in ("kind", "measure", "score", "note")]
    reasons = [
        f"{kind}: {limits[measure].reason(score, note)}"
        for kind, measure, score, note in zip(*columns, strict=True)
    ]
    return _targets(
        drops["pair_id"], "filtered", reasons, drops["kind"], drops["score"], [""] * len(drops)
    )


def _set_aside(listed: pa.Table, made: DedupPlan) -> pa.Table:
    """The rows that go by a list: those that stand for themselves, and with them their copies."""
    ids, along = made.base.contenders.ids, made.along
    copies = np.concatenate([along.row, made.groups.removed.row])
    is_copy = pc.is_in(listed["pair_id"], value_set=ids.take(pa.array(copies)))
    kind, to = SET_ASIDE.kind, ids.take(pa.array(along.to)).to_pylist()
    reasons = [f"{kind}: set aside with {one}" for one in to]
    rows = ids.take(pa.array(along.row))
    copied = _targets(rows, "filtered", reasons, [kind] * len(to), along.similarity, to)
    return pa.concat_tables([listed.filter(pc.invert(is_copy)), copied])


def _duplicates(made: DedupPlan, settings: CurateSettings) -> pa.Table:
    what = {"prompt": "prompt", "answer": "answer", "both": "prompt and answer"}[settings.field]
    ids, removed = made.base.contenders.ids, made.groups.removed
    kept = ids.take(pa.array(removed.to)).to_pylist()
    reasons = [
        f"same {what} as {to}" if is_exact else f"near-duplicate of {to}: {what} {alike:.3f} alike"
        for to, alike, is_exact in zip(
            kept, removed.similarity.tolist(), removed.is_exact.tolist(), strict=True
        )
    ]
    codes = np.where(removed.is_exact, "exact", "near")
    rows = ids.take(pa.array(removed.row))
    return _targets(rows, "duplicate", reasons, codes.tolist(), removed.similarity, kept)


def _by_topic(made: DedupPlan) -> list[Row]:
    """`topic`, `kind`, `count` of the rows that go for another one."""
    removed, topics = made.groups.removed, made.base.topics
    kinds = 2 * _codes(topics)[removed.row] + removed.is_exact
    found, counts = np.unique(kinds, return_counts=True)
    names = topics.dictionary.to_pylist()
    return [
        {"topic": names[kind // 2], "kind": "exact" if kind % 2 else "near", "count": count}
        for kind, count in zip(found.tolist(), counts.tolist(), strict=True)
    ]


def _targets(
    ids: pa.Array | pa.ChunkedArray,
    state: str,
    reasons: Sequence[str],
    codes: Sequence[str] | pa.ChunkedArray,
    scores: object,
    lost_to: Sequence[str],
) -> pa.Table:
    columns = [ids, [state] * len(reasons), reasons, codes, scores, lost_to]
    return pa.table(dict(zip(TARGETS.names, columns, strict=True)), schema=TARGETS)
