"""Which rows go into a snapshot, why the others do not, and their reading page by page."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from distill_studio.core.errors import Conflict
from distill_studio.core.records import Curation, Message, Pair, PairStatus
from distill_studio.freeze.formats import PREFERENCE, STYLES, preference
from distill_studio.freeze.options import FreezeOptions
from distill_studio.freeze.split import SplitRow, normalised_prompt
from distill_studio.store import pairs, snapshots
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import PairQuery

_PAGE_ROWS = 1000

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
    choose = _select_preferences if row_format == PREFERENCE else _select_pairs
    choose(db, selection, near_groups)
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
            yield [STYLES[selection.format].to_row(pair, options) for pair in there]


def _select_pairs(db: Database, selection: Selection, near_groups: NearGroups) -> None:
    selection.left_out = snapshots.left_out(db, selection.query)
    drafts: list[tuple[str, str, str]] = []
    empty = 0
    for row, messages in snapshots.pair_prompts(db, selection.query):
        if row["is_empty"]:
            empty += 1
        else:
            drafts.append((row["id"], row["seed_id"], normalised_prompt(messages)))
    if empty:
        selection.left_out["empty answer"] = empty
    near = near_groups([draft[0] for draft in drafts]) if drafts else {}
    selection.rows = [
        SplitRow(pair_id, prompt, _ties(seed_id, near, pair_id))
        for pair_id, seed_id, prompt in drafts
    ]


def _select_preferences(db: Database, selection: Selection, near_groups: NearGroups) -> None:
    reasons: Counter[str] = Counter()
    by_pair: dict[frozenset[str], list[Row]] = defaultdict(list)
    compared = snapshots.compared_pairs(db, selection.query)
    by_people = {_couple(row) for row in compared if not row["is_judges"]}
    for row in compared:
        reason = _preference_reason(row)
        if row["is_judges"] and _couple(row) in by_people:  # a tie of theirs counts too
            reason = "a judge's, where people have voted"
        if reason:
            reasons[reason] += 1
        else:
            by_pair[_couple(row)].append(row)
    winners = [_majority(votes, reasons) for votes in by_pair.values()]
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


def _preference_reason(row: Row) -> str:
    """Why a preference is no training row; '' when it is one."""
    checks = {
        f"no winner ({row['outcome'].replace('_', ' ')})": row["outcome"] != "win",
        "the answers belong to different prompts": not row["same_prompt"],
        "the chosen answer was rejected in review": row["chosen_status"] == PairStatus.REJECTED,
        "the chosen answer was filtered out": row["chosen_curation"] == Curation.FILTERED,
        "both answers are the same text": row["same_text"],
        "an answer is empty": row["is_empty"],
    }
    return next((reason for reason, applies in checks.items() if applies), "")


def _majority(votes: list[Row], reasons: Counter[str]) -> Row | None:
    """The oldest vote for the answer that most voters chose; None when they are even."""
    ayes = Counter(row["chosen_pair_id"] for row in votes).most_common()
    if len(ayes) > 1 and ayes[0][1] == ayes[1][1]:
        reasons["voters disagree evenly"] += len(votes)
        return None
    winner = next(row for row in votes if row["chosen_pair_id"] == ayes[0][0])
    if len(votes) > ayes[0][1]:
        reasons["outvoted"] += len(votes) - ayes[0][1]
    if ayes[0][1] > 1:
        reasons["same comparison voted again"] += ayes[0][1] - 1
    return winner


def _ties(seed_id: str, near: dict[str, str], *pair_ids: str) -> tuple[str, ...]:
    groups = (near[pair_id] for pair_id in pair_ids if pair_id in near)
    return (f"seed:{seed_id}", *(f"near:{group}" for group in groups))


def _compared_row(
    found: dict[str, Pair], selection: Selection, row_id: str, options: FreezeOptions
) -> dict[str, Any]:
    chosen, rejected = (found[pair_id] for pair_id in selection.compared[row_id])
    return preference.to_row(row_id, chosen, rejected, options)


def _fits(pair: Pair, query: PairQuery) -> bool:
    return pair.status == query.status and pair.curation == query.curation


def _check(is_unchanged: bool) -> None:
    if not is_unchanged:
        raise Conflict("Rows changed while they were being frozen.", "Freeze again.")
