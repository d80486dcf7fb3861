"""Plans and stored facts as the records that pages and the API show."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from distill_studio.core.records import Pair
from distill_studio.curate.dedup.groups import Contender, Lost, verdict_on
from distill_studio.curate.diff import word_diff
from distill_studio.curate.filters import FILTERS, FilterConfig, measures_version
from distill_studio.curate.reports import (
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
    TopicCount,
)
from distill_studio.curate.text import conversation_text
from distill_studio.services.curation_plan import DedupPlan, Plan, limit_rows, limits_by_measure
from distill_studio.store import curation, embeddings, pairs
from distill_studio.store.database import Database

_EXAMPLES = 3
_BORDERLINE = 20
_GROUPS = 25
_GROUP_ROWS = 10
_CONFLICTS = 100
_BIN = 0.01
_PROMPT_CUT, _ANSWER_CUT = 300, 600


def filters_preview(db: Database, filters: Sequence[FilterConfig]) -> FiltersPreview:
    """How many rows go at these settings, with examples on both sides of each line."""
    rows = limit_rows(filters)
    counts = curation.filter_counts(db, rows)
    drops = curation.filter_drops(db, rows)
    counted = pairs.counts(db)
    accepted = sum(row["status"] == "accepted" for row in drops)
    dropped = _examples(db, filters, is_dropped=True)
    kept = _examples(db, filters, is_dropped=False)
    return FiltersPreview(
        considered=counted["total"] - counted["rejected"],
        dropped=len(drops) - accepted,
        protected=accepted,
        unmeasured=curation.unmeasured_count(db, measures_version()),
        filters=[
            FilterPreview(
                kind=config.kind,
                label=FILTERS[config.kind].label,
                about=FILTERS[config.kind].about,
                is_on=config.is_on,
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
    grouping = made.grouping
    close = _borderline(made)
    largest = _largest(grouping.removed)
    conflicts = grouping.conflicts[:_CONFLICTS]
    shown = {*(x for lost, _ in close for x in (lost.id, lost.to))}
    shown.update(x for lost in conflicts for x in (lost.id, lost.to))
    for kept, losses in largest:
        shown.update([kept, *(lost.id for lost in losses[:_GROUP_ROWS])])
    texts = row_texts(db, shown)

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
        groups=len({lost.to for lost in grouping.removed}),
        removed=len(grouping.removed),
        exact=sum(lost.is_exact for lost in grouping.removed),
        conflicts=len(grouping.conflicts),
        histogram=histogram(made.base.edges.similarity, made.base.floor),
        borderline=[near(lost) for lost, _ in close],
        largest=[
            NearGroup(
                kept=texts[kept],
                removed=[near(lost) for lost in losses[:_GROUP_ROWS]],
                size=len(losses),
            )
            for kept, losses in largest
        ],
        conflict_pairs=[near(lost) for lost in conflicts],
    )


def dedup_counts(db: Database, settings: CurateSettings, model: str) -> tuple[int, int]:
    """Rows that pass the filters, and of all rows those not compared yet."""
    counted = pairs.counts(db)
    drops = curation.filter_drops(db, limit_rows(settings.filters))
    gone = sum(settings.remove_accepted or row["status"] != "accepted" for row in drops)
    unembedded = embeddings.unembedded_count(db, model, settings.field)
    return int(counted["total"] - counted["rejected"] - gone), unembedded


def report(db: Database, made: Plan) -> CurateReport:
    """What applying the plan leaves, by reason and topic."""
    counted = pairs.counts(db)
    considered = counted["total"] - counted["rejected"]
    by_reason = Counter(target.code for target in made.targets)
    topics = curation.topic_counts(db, [target.pair_id for target in made.targets])
    return CurateReport(
        considered=considered,
        kept=considered - len(made.targets),
        filtered=len(made.drops),
        duplicates=len(made.dedup.grouping.removed),
        conflicts=len(made.dedup.grouping.conflicts),
        protected=len(made.protected),
        by_reason=dict(by_reason.most_common()),
        by_topic=[TopicCount(**row) for row in topics],
        settings=made.settings,
    )


def comparison(db: Database, field: embeddings.Field, a_id: str, b_id: str) -> Comparison | None:
    """Two rows in full with their differences; None when one is not there."""
    found = {pair.id: pair for pair in pairs.get(db, [a_id, b_id])}
    if a_id not in found or b_id not in found:
        return None
    a, b = (_text(found[one], None, None) for one in (a_id, b_id))
    said = {(row["a_id"], row["b_id"]): row["verdict"] for row in curation.verdicts(db)}
    return Comparison(
        a=a,
        b=b,
        similarity=embeddings.similarity_of(db, field, a_id, b_id),
        verdict=str(verdict_on(said, a_id, b_id) or ""),
        prompt_diff=[tuple(piece) for piece in word_diff(a.prompt, b.prompt)],
        answer_diff=[tuple(piece) for piece in word_diff(a.answer, b.answer)],
    )


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
    db: Database, filters: Sequence[FilterConfig], *, is_dropped: bool
) -> dict[str, list[Example]]:
    """By filter the rows nearest to its limits on one side, each row once."""
    limits = limits_by_measure(filters)
    found: dict[str, dict[str, Example]] = {}
    rows = limit_rows(filters)
    for row in curation.near_the_line(db, rows, is_dropped=is_dropped, count=_EXAMPLES):
        example = Example(
            pair_id=row["pair_id"],
            prompt=row["prompt"],
            answer=row["answer"],
            score=row["score"],
            reason=limits[row["measure"]].reason(row["score"], row["note"]),
        )
        found.setdefault(row["kind"], {}).setdefault(row["pair_id"], example)
    return {kind: list(examples.values())[:_EXAMPLES] for kind, examples in found.items()}


def _largest(removed: Sequence[Lost]) -> list[tuple[str, list[Lost]]]:
    groups: dict[str, list[Lost]] = {}
    for lost in removed:
        groups.setdefault(lost.to, []).append(lost)
    for losses in groups.values():
        losses.sort(key=lambda lost: (lost.similarity, lost.id))
    return sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:_GROUPS]


def _borderline(made: DedupPlan) -> list[tuple[Lost, float]]:
    """Pairs of rows nearest to the threshold on either side, the nearest first."""
    by_unit: dict[int, list[Contender]] = {}
    for row in made.base.contenders:
        by_unit.setdefault(row.unit, []).append(row)
    distance = np.abs(made.base.edges.similarity - made.threshold)
    found: list[tuple[Lost, float]] = []
    for k in np.argsort(distance, kind="stable"):
        ends = (int(made.base.edges.a[k]), int(made.base.edges.b[k]))
        rows = _two_rows(by_unit[ends[0]], by_unit[ends[1]])
        if rows is not None:
            lost = Lost(rows[1].id, rows[0].id, float(made.base.edges.similarity[k]), False)
            found.append((lost, float(distance[k])))
        if len(found) >= _BORDERLINE:
            break
    return found


def _two_rows(
    left: Sequence[Contender], right: Sequence[Contender]
) -> tuple[Contender, Contender] | None:
    """A row of each unit, the older first; None when they are equal or of one seed."""
    for a in left:
        for b in right:
            is_same = a.exact_key != "" and a.exact_key == b.exact_key
            if not is_same and a.seed_id != b.seed_id:
                return (a, b) if a.id < b.id else (b, a)
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
