"""Which rows go into a snapshot, why the others do not, and their reading page by page."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from distill_studio.core.errors import Conflict
from distill_studio.core.records import Curation, Message, Pair, PairStatus
from distill_studio.freeze.formats import PREFERENCE, STYLES, UNPAIRED, preference, unpaired
from distill_studio.freeze.options import FreezeOptions
from distill_studio.freeze.split import SplitRow, normalised_prompt
from distill_studio.prefer.majority import Say, verdict
from distill_studio.store import labelling, pairs, snapshots
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import PairQuery

_PAGE_ROWS = 1000
_LABELLED = (PairStatus.ACCEPTED, PairStatus.REJECTED)

_BENCH, _ELSEWHERE, _MODELS = range(3)  # in this order their word goes before the others'
_OVERRULED = {
    _ELSEWHERE: "voted on elsewhere, where people have voted on the bench",
    _MODELS: "a judge's, where people have voted",
}
_STATES = {"open": "votes missing", "even": "voters disagree evenly"}

NearGroups = Callable[[Sequence[str]], dict[str, str]]


@dataclass
class Selection:
    """The chosen rows as the split sees them, and the count of the others by reason."""

    format: str
    query: PairQuery
    rows: list[SplitRow] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    compared: dict[str, tuple[str, str]] = field(default_factory=dict)  # preference -> pairs

    @property
    def pair_ids(self) -> list[str]:
        """The pairs whose answers a student will learn."""
        if self.format == PREFERENCE:
            return [self.compared[row.id][0] for row in self.rows]
        return [row.id for row in self.rows]


def usable(query: PairQuery | None, row_format: str) -> PairQuery:
    """The query with what it leaves open set to accepted and kept (for pairs)."""
    query = query or PairQuery()
    if row_format == PREFERENCE:
        return query
    if row_format == UNPAIRED:
        return query.model_copy(
            update={"status": None, "curation": query.curation or Curation.KEPT}
        )
    return query.model_copy(
        update={
            "status": query.status or PairStatus.ACCEPTED,
            "curation": query.curation or Curation.KEPT,
        }
    )


def select(
    db: Database, row_format: str, query: PairQuery | None, near_groups: NearGroups
) -> Selection:
    """Choose the rows for a format."""
    selection = Selection(row_format, usable(query, row_format))
    if row_format == PREFERENCE:
        _select_preferences(db, selection, near_groups)
    else:
        _select_pairs(db, selection, near_groups)
    return selection


def shaped_rows(
    db: Database, selection: Selection, options: FreezeOptions
) -> Iterator[list[dict[str, Any]]]:
    """The rows in their final form, a page at a time, in the selection's order.

    Raises:
        Conflict: A row was decided, edited away or deleted in the meantime.
    """
    ids = iter([row.id for row in selection.rows])
    while page := list(islice(ids, _PAGE_ROWS)):
        if selection.format == PREFERENCE:
            wanted = [i for row_id in page for i in selection.compared[row_id]]
            found = {pair.id: pair for pair in pairs.get(db, wanted)}
            _check(len(found) == len(set(wanted)))
            yield [_compared_row(found, selection, row_id, options) for row_id in page]
        else:
            there = pairs.get(db, page)
            _check(len(there) == len(page) and all(_fits(p, selection.query) for p in there))
            yield [_pair_row(pair, selection.format, options) for pair in there]


def _pair_row(pair: Pair, row_format: str, options: FreezeOptions) -> dict[str, Any]:
    if row_format == UNPAIRED:
        return unpaired.to_row(pair, options)
    return STYLES[row_format].to_row(pair, options)


def _queries(selection: Selection) -> list[PairQuery]:
    """One query per status: labelled rows are the accepted and the rejected ones."""
    if selection.format != UNPAIRED:
        return [selection.query]
    return [selection.query.model_copy(update={"status": status}) for status in _LABELLED]


def _select_pairs(db: Database, selection: Selection, near_groups: NearGroups) -> None:
    queries = _queries(selection)
    selection.left_out = snapshots.left_out(db, queries[0])
    unkept = 0
    if selection.format == UNPAIRED:
        selection.left_out.pop(PairStatus.REJECTED, None)
        rejected = queries[-1]
        unkept = pairs.count(db, rejected.model_copy(update={"curation": None}))
        unkept -= pairs.count(db, rejected)
    drafts: list[tuple[str, str, str]] = []
    empty = 0
    for query in queries:
        for row, messages in snapshots.pair_prompts(db, query):
            if row["is_empty"]:
                empty += 1
            else:
                drafts.append((row["id"], row["seed_id"], normalised_prompt(messages)))
    drafts.sort()  # by id, so by age
    if empty:
        selection.left_out["empty answer"] = empty
    if unkept:
        selection.left_out["rejected and not kept"] = unkept
    near = near_groups([draft[0] for draft in drafts]) if drafts else {}
    selection.rows = [
        SplitRow(pair_id, prompt, _ties(seed_id, near, pair_id))
        for pair_id, seed_id, prompt in drafts
    ]


def _select_preferences(db: Database, selection: Selection, near_groups: NearGroups) -> None:
    reasons: Counter[str] = Counter()
    by_couple: dict[frozenset[str], list[Row]] = defaultdict(list)
    for row in snapshots.compared_pairs(db, selection.query):
        if not row["is_arena"]:
            by_couple[_couple(row)].append(row)
        elif row["is_asked_for"]:
            reasons["a judge's vote in the arena"] += 1
    overlap = labelling.settings(db).overlap
    winners = [_winner(rows, overlap, reasons) for rows in by_couple.values()]
    kept = [row for row in winners if row is not None]
    kept.sort(key=lambda row: str(row["id"]))
    selection.left_out = dict(reasons.most_common())
    selection.compared = {r["id"]: (r["chosen_pair_id"], r["rejected_pair_id"]) for r in kept}
    near = near_groups([i for both in selection.compared.values() for i in both]) if kept else {}
    for row in kept:
        prompt = normalised_prompt(Message(**m) for m in json.loads(row["messages"]))
        ties = _ties(row["seed_id"], near, row["chosen_pair_id"], row["rejected_pair_id"])
        selection.rows.append(SplitRow(row["id"], prompt, ties))


def _couple(row: Row) -> frozenset[str]:
    return frozenset((row["chosen_pair_id"], row["rejected_pair_id"]))


def _winner(rows: Sequence[Row], overlap: int, reasons: Counter[str]) -> Row | None:
    """The preference of two answers that becomes a row: the oldest that says what holds.

    Only the most trusted kind of them votes (`_standing`): its majority over all that it says, ties
    and "both bad" included, so that no row contradicts it. The others are counted by reason.
    """
    highest = min(_standing(row) for row in rows)
    voting = [row for row in rows if _standing(row) == highest]
    asked = overlap if highest == _BENCH else 1
    held = verdict([Say(_said(row), row["is_final"]) for row in voting], asked)
    is_settled = any(row["is_final"] for row in voting)
    winner: Row | None = None
    for row in rows:
        if _standing(row) != highest:
            reason = _OVERRULED[_standing(row)]
        elif is_settled and not row["is_final"]:
            reason = "settled by an adjudicator"
        else:
            reason = _STATES.get(held.state) or _preference_reason(row, held.said)
        if not reason and winner is not None:
            reason = "same comparison voted again"
        if not reason:
            winner = row
        elif row["is_asked_for"]:
            reasons[reason] += 1
    return winner if winner is not None and winner["is_asked_for"] else None


def _standing(row: Row) -> int:
    """Whose word goes before whose: votes of the bench, others of people and files, models'."""
    if row["source"] == "person":
        return _BENCH
    return _MODELS if row["source"] in ("judge", "rule") else _ELSEWHERE


def _said(row: Row) -> str:
    return str(row["chosen_pair_id"] if row["outcome"] == "win" else row["outcome"])


def _preference_reason(row: Row, holds: str) -> str:
    """Why a preference is no training row; '' when it is one."""
    checks = {
        f"no winner ({row['outcome'].replace('_', ' ')})": row["outcome"] != "win",
        "outvoted": _said(row) != holds,
        "the answers belong to different prompts": not row["same_prompt"],
        "the chosen answer was rejected in review": row["chosen_status"] == PairStatus.REJECTED,
        "the chosen answer was filtered out": row["chosen_curation"] == Curation.FILTERED,
        "both answers are the same text": row["same_text"],
        "an answer is empty": row["is_empty"],
    }
    return next((reason for reason, applies in checks.items() if applies), "")


def _ties(seed_id: str, near: dict[str, str], *pair_ids: str) -> tuple[str, ...]:
    groups = (near[pair_id] for pair_id in pair_ids if pair_id in near)
    return (f"seed:{seed_id}", *(f"near:{group}" for group in groups))


def _compared_row(
    found: dict[str, Pair], selection: Selection, row_id: str, options: FreezeOptions
) -> dict[str, Any]:
    chosen, rejected = (found[pair_id] for pair_id in selection.compared[row_id])
    return preference.to_row(row_id, chosen, rejected, options)


def _fits(pair: Pair, query: PairQuery) -> bool:
    statuses = _LABELLED if query.status is None else (query.status,)
    return pair.status in statuses and pair.curation == query.curation


def _check(is_unchanged: bool) -> None:
    if not is_unchanged:
        raise Conflict("Rows changed while they were being frozen.", "Freeze again.")
