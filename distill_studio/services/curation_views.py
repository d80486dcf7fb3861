"""Plans and stored facts as the records that pages and the API show."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill_studio.core.records import Pair
from distill_studio.curate.dedup.groups import Edges, Lost, verdict_on
from distill_studio.curate.dedup.rounds import Contenders, Losses
from distill_studio.curate.dedup.vectors import IntArray
from distill_studio.curate.diff import word_diff
from distill_studio.curate.filters import FILTERS, FilterConfig
from distill_studio.curate.reports import (
    Approximation,
    Bin,
    Comparison,
    CurateReport,
    CurateSettings,
    DedupPreview,
    Example,
    FilterPreview,
    FiltersPreview,
    NearGroup,
    NearPair,
    RowText,
)
from distill_studio.curate.text import conversation_text
from distill_studio.curate.topics import by_topic
from distill_studio.services import model_agreement_work as agreeing
from distill_studio.services.curation_plan import DedupPlan, Plan, limit_rows, limits_by_measure
from distill_studio.store import curation, embeddings, pairs
from distill_studio.store.database import Database, Row

_EXAMPLES = 3
_BORDERLINE = 20
_GROUPS = 25
_GROUP_ROWS = 10
_CONFLICTS = 100
_BIN = 0.01
_PROMPT_CUT, _ANSWER_CUT = 300, 600


def filters_preview(
    db: Database,
    filters: Sequence[FilterConfig],
    totals: Sequence[Row],
    drops: Sequence[Row],
    unmeasured: int,
) -> FiltersPreview:
    """How many rows go at these settings, by reason and topic, with examples of both sides.

    Args:
        db: The store.
        filters: The settings.
        totals: From `curation.topic_totals`.
        drops: From `curation.drop_counts` of these filters.
        unmeasured: Rows that no filter has measured yet.
    """
    counts = curation.filter_counts(db, limit_rows(filters, with_warnings=True))
    gone = [row for row in drops if not row["is_accepted"]]
    counted = pairs.counts(db)
    dropped, kept = _examples(db, filters)
    return FiltersPreview(
        considered=counted["total"] - counted["rejected"],
        dropped=sum(row["count"] for row in gone),
        protected=sum(row["count"] for row in drops if row["is_accepted"]),
        unmeasured=unmeasured,
        by_topic=by_topic(totals, gone),
        filters=[
            FilterPreview(
                kind=config.kind,
                label=FILTERS[config.kind].label,
                about=FILTERS[config.kind].about,
                group=FILTERS[config.kind].group,
                is_on=config.is_on,
                only_warns=config.only_warns,
                drops=counts.get(config.kind, 0),
                dropped=dropped.get(config.kind, []),
                kept=kept.get(config.kind, []),
            )
            for config in filters
        ],
    )


def dedup_preview(
    db: Database, settings: CurateSettings, made: DedupPlan, counts: tuple[int, int]
) -> DedupPreview:
    """What the threshold does, with the pairs nearest to it and the largest groups.

    Args:
        db: The store.
        settings: What was asked.
        made: The groups.
        counts: From `dedup_counts`.
    """
    rows, grouped = made.base.contenders, made.groups
    removed = grouped.removed
    close = borderline(rows, made.base.edges, made.threshold)
    largest = _largest(rows, removed)
    conflicts = _told(
        rows, grouped.conflicts.where(np.arange(min(_CONFLICTS, len(grouped.conflicts))))
    )
    shown = [*close, *conflicts, *(lost for _, losses in largest for lost in losses)]
    texts = row_texts(db, {one for lost in shown for one in (lost.id, lost.to)})

    def near(lost: Lost) -> NearPair:
        return NearPair(
            a=texts[lost.to],
            b=texts[lost.id],
            similarity=lost.similarity,
            is_exact=lost.is_exact,
            verdict=str(verdict_on(made.base.verdicts, lost.to, lost.id) or ""),
        )

    return DedupPreview(
        field=settings.field,
        threshold=made.threshold,
        floor=made.base.floor,
        model=made.base.model,
        considered=counts[0],
        unembedded=counts[1],
        near_pairs=len(made.base.edges.a),
        approximate=_approximation(db, settings.field, settings.model),
        agreement=agreeing.stored(db, settings.model, settings.field),
        groups=len(np.unique(removed.to)),
        removed=len(removed),
        exact=int(removed.is_exact.sum()),
        conflicts=len(grouped.conflicts),
        histogram=histogram(made.base.edges.similarity, made.base.floor),
        borderline=[near(lost) for lost in close],
        largest=[
            NearGroup(kept=texts[losses[0].to], removed=[near(lost) for lost in losses], size=size)
            for size, losses in largest
        ],
        conflict_pairs=[near(lost) for lost in conflicts],
    )


def _approximation(db: Database, field: embeddings.Field, model: str) -> Approximation | None:
    """What a model's search of a field missed; None when it was exact, or there is none."""
    state = embeddings.search_state(db, field, model)
    if state is None or state["recall_pairs"] is None:
        return None
    return Approximation(
        share=state["recall"],
        low=state["recall_low"],
        high=state["recall_high"],
        pairs=state["recall_pairs"],
    )


def dedup_counts(
    db: Database, settings: CurateSettings, model: str, drops: Sequence[Row]
) -> tuple[int, int]:
    """Rows that pass the filters, and of all rows those not compared yet.

    `drops`: from `curation.drop_counts` of the settings' filters.
    """
    counted = pairs.counts(db)
    gone = sum(r["count"] for r in drops if settings.remove_accepted or not r["is_accepted"])
    unembedded = embeddings.unembedded_count(db, model, settings.field)
    return int(counted["total"] - counted["rejected"] - gone), unembedded


def report(db: Database, made: Plan, totals: Sequence[Row]) -> CurateReport:
    """What applying the plan leaves, by reason and topic (`totals`: `curation.topic_totals`)."""
    counted = pairs.counts(db)
    considered = counted["total"] - counted["rejected"]
    filtered, duplicates = made.filtered, made.duplicates
    codes = pa.chunked_array([*filtered["code"].chunks, *duplicates["code"].chunks], pa.string())
    by_reason = {row["values"]: row["counts"] for row in pc.value_counts(codes).to_pylist()}
    return CurateReport(
        considered=considered,
        kept=considered - len(filtered) - len(duplicates),
        filtered=len(filtered),
        duplicates=len(duplicates),
        conflicts=len(made.dedup.groups.conflicts),
        protected=made.protected,
        by_reason=dict(sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))),
        by_topic=by_topic(totals, made.by_topic),
        settings=made.settings,
    )


def comparison(
    db: Database, field: embeddings.Field, model: str, a_id: str, b_id: str
) -> Comparison | None:
    """Two rows in full with their differences; None when one is not there."""
    found = {pair.id: pair for pair in pairs.get(db, [a_id, b_id])}
    if a_id not in found or b_id not in found:
        return None
    a, b = (whole_text(found[one]) for one in (a_id, b_id))
    said = {(row["a_id"], row["b_id"]): row["verdict"] for row in curation.verdicts(db)}
    return Comparison(
        a=a,
        b=b,
        similarity=embeddings.similarity_of(db, field, model, a_id, b_id),
        verdict=str(verdict_on(said, a_id, b_id) or ""),
        prompt_diff=[tuple(piece) for piece in word_diff(a.prompt, b.prompt)],
        answer_diff=[tuple(piece) for piece in word_diff(a.answer, b.answer)],
    )


def whole_text(pair: Pair) -> RowText:
    """A row for reading, not cut."""
    return _text(pair, None, None)


def row_texts(db: Database, ids: Iterable[str]) -> dict[str, RowText]:
    """Rows for reading, cut to a few lines, by id."""
    return {
        pair.id: _text(pair, _PROMPT_CUT, _ANSWER_CUT) for pair in pairs.get(db, sorted(set(ids)))
    }


def histogram(similarity: embeddings.FloatArray, floor: float) -> list[Bin]:
    """Counts per hundredth from the floor to 1; exactly 1 falls into the last bar."""
    first = min(99, int(np.floor(round(floor / _BIN, 6))))
    edges = np.round(np.arange(first, 101) * _BIN, 2)
    counts = np.histogram(similarity, bins=edges)[0].tolist()
    return [
        Bin(start=float(edges[k]), stop=float(edges[k + 1]), count=count)
        for k, count in enumerate(counts)
    ]


def _examples(
    db: Database, filters: Sequence[FilterConfig]
) -> tuple[dict[str, list[Example]], dict[str, list[Example]]]:
    """By filter the rows nearest to its limits, each once: (those that go, those that stay)."""
    limits = limits_by_measure(filters)
    sides: dict[bool, dict[str, dict[str, Example]]] = {True: {}, False: {}}
    rows = limit_rows(filters, with_warnings=True)
    for row in curation.near_the_line(db, rows, _EXAMPLES):
        example = Example(
            pair_id=row["pair_id"],
            prompt=row["prompt"],
            answer=row["answer"],
            score=row["score"],
            reason=limits[row["measure"]].reason(row["score"], row["note"]),
        )
        sides[row["is_dropped"]].setdefault(row["kind"], {}).setdefault(row["pair_id"], example)
    dropped, kept = (
        {kind: list(examples.values())[:_EXAMPLES] for kind, examples in side.items()}
        for side in sides.values()
    )
    return dropped, kept


def _largest(rows: Contenders, removed: Losses) -> list[tuple[int, list[Lost]]]:
    """Of the largest groups the size and the least alike rows."""
    kept, sizes = np.unique(removed.to, return_counts=True)
    found = []
    for k in np.argsort(-sizes, kind="stable")[:_GROUPS]:
        members = np.flatnonzero(removed.to == kept[k])
        least = members[np.argsort(removed.similarity[members], kind="stable")[:_GROUP_ROWS]]
        found.append((int(sizes[k]), _told(rows, removed.where(least))))
    return found


def _told(rows: Contenders, losses: Losses) -> list[Lost]:
    """Losses by the ids of their rows."""
    columns = (losses.row, losses.to, losses.similarity, losses.is_exact)
    return [
        Lost(rows.id(row), rows.id(to), similarity, is_exact)
        for row, to, similarity, is_exact in zip(*(c.tolist() for c in columns), strict=True)
    ]


def borderline(rows: Contenders, edges: Edges, threshold: float) -> list[Lost]:
    """Pairs of rows nearest to the threshold on either side, the nearest first."""
    by_unit = np.argsort(rows.unit, kind="stable")
    units = rows.unit[by_unit]
    found: list[Lost] = []
    apart = np.flatnonzero(_differ(rows, edges))
    distance = np.abs(edges.similarity[apart] - threshold)
    for k in apart[np.argsort(distance, kind="stable")].tolist():
        ends = np.array([edges.a[k], edges.b[k]])
        starts = np.searchsorted(units, ends, side="left")
        stops = np.searchsorted(units, ends, side="right")
        left, right = (by_unit[start:stop] for start, stop in zip(starts, stops, strict=True))
        pair = _two_rows(rows, left, right)
        if pair is not None:
            older, newer = sorted(map(rows.id, pair))
            found.append(Lost(newer, older, float(edges.similarity[k]), False))
        if len(found) >= _BORDERLINE:
            break
    return found


def _differ(rows: Contenders, edges: Edges) -> npt.NDArray[np.bool_]:
    """(E,) False where all rows of both units are answers to one seed: nothing to look at."""
    compared = np.flatnonzero(rows.unit >= 0)
    size = max((int(e.max(initial=-1)) for e in (rows.unit, edges.a, edges.b)), default=-1) + 1
    least, most = np.full(size, len(rows)), np.full(size, -1)
    np.minimum.at(least, rows.unit[compared], rows.seed[compared])
    np.maximum.at(most, rows.unit[compared], rows.seed[compared])
    first = np.minimum(least[edges.a], least[edges.b])
    return np.asarray(first < np.maximum(most[edges.a], most[edges.b]), bool)


def _two_rows(rows: Contenders, left: IntArray, right: IntArray) -> tuple[int, int] | None:
    """A row of each unit; None when they are all equal or of one seed."""
    for a in left.tolist():
        is_same = (rows.key[right] == rows.key[a]) & (rows.key[a] >= 0)
        fit = np.flatnonzero(~is_same & (rows.seed[right] != rows.seed[a]))
        if len(fit):
            return a, int(right[fit[0]])
    return None


def _text(pair: Pair, prompt_cut: int | None, answer_cut: int | None) -> RowText:
    return RowText(
        pair_id=pair.id,
        prompt=_cut(conversation_text(pair.messages), prompt_cut),
        answer=_cut(pair.final_answer, answer_cut),
        status=pair.status.value,
        teacher=pair.teacher,
        topic=pair.topic,
    )


def _cut(text: str, limit: int | None) -> str:
    return text if limit is None or len(text) <= limit else text[: limit - 1].rstrip() + "…"
