"""Which rows stand for others: greedy keep-first, in order of priority.

Each row, in order, is kept unless a row kept before it is at least the threshold alike; then that
one stands for it. So every removed row's representative survives and is at least the threshold
like it (connected components would chain: a removed row may be quite unlike the one that stays).

Answers to one seed are candidates: they are made to be compared, so however alike, none stands for
another. Only exact copies do, since there is nothing to compare between them.

A row that a person accepted is never removed by this: it is kept as a *conflict* until a person
says which of the two goes, and until then it stands for nobody.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from distill_studio.curate.dedup.vectors import FloatArray, IntArray


class Verdict(StrEnum):
    """What a person said about a near pair (a, b)."""

    KEEP_BOTH = "keep_both"
    KEEP_A = "keep_a"
    KEEP_B = "keep_b"


@dataclass(frozen=True)
class Contender:
    """A row that may stand for others or be stood for.

    `unit`: number of its text among the compared ones, -1 when it is not embedded yet.
    `exact_key`: equal for rows that are the same but for case, space and punctuation; '' = none.
    """

    id: str
    seed_id: str
    unit: int
    exact_key: str
    is_protected: bool = False


@dataclass(frozen=True)
class Edges:
    """Near pairs of units: a[k] and b[k] are similarity[k] alike; all at least the threshold."""

    a: IntArray
    b: IntArray
    similarity: FloatArray


@dataclass(frozen=True)
class Lost:
    """A row and the kept row that it duplicates."""

    id: str
    to: str
    similarity: float
    is_exact: bool


@dataclass
class Grouping:
    """The outcome: who is removed, and who would be, had a person not accepted it."""

    removed: list[Lost] = field(default_factory=list)
    conflicts: list[Lost] = field(default_factory=list)


def keep_first(
    rows: Sequence[Contender],
    edges: Edges,
    *,
    spare_copies: bool = False,
    verdicts: Mapping[tuple[str, str], Verdict] | None = None,
    remove_protected: bool = False,
) -> Grouping:
    """Group rows that are given in order of priority.

    Args:
        rows: Who takes part, the first to be kept first.
        edges: Near pairs of their units.
        spare_copies: Not even equal rows of one seed are duplicates (when prompts are compared,
            all of them are equal).
        verdicts: What people said of single pairs, by (id, id) with the smaller id first.
        remove_protected: Conflicts are removed like other rows; a person asked for that.
    """
    verdicts = verdicts or {}
    grouper = _Grouper(edges, spare_copies, verdicts)
    outcome = Grouping()
    for row in _in_order(rows, verdicts):
        lost = grouper.rival_of(row)
        if lost is None:
            grouper.keep(row)
        elif row.is_protected and not remove_protected and not grouper.is_settled(lost):
            outcome.conflicts.append(lost)
        else:
            outcome.removed.append(lost)
    return outcome


def verdict_on(verdicts: Mapping[tuple[str, str], Verdict], one: str, other: str) -> Verdict | None:
    """What a person said of two rows, with `one` as a; None when nothing."""
    if one < other:
        return verdicts.get((one, other))
    found = verdicts.get((other, one))
    turned = {Verdict.KEEP_A: Verdict.KEEP_B, Verdict.KEEP_B: Verdict.KEEP_A}
    return turned.get(found, found) if found else None


class _Grouper:
    """Kept rows so far, by unit and by exact key."""

    def __init__(
        self,
        edges: Edges,
        spare_copies: bool,
        verdicts: Mapping[tuple[str, str], Verdict],
    ) -> None:
        self._spare_copies, self._verdicts = spare_copies, verdicts
        self._by_unit: dict[int, list[Contender]] = {}
        self._by_key: dict[str, list[Contender]] = {}
        self._place: dict[str, int] = {}
        ends = np.concatenate([edges.a, edges.b])
        order = np.argsort(ends, kind="stable")
        # Lists: reading single numbers out of numpy arrays takes ten times as long.
        self._others: list[int] = np.concatenate([edges.b, edges.a])[order].tolist()
        self._alike: list[float] = np.concatenate([edges.similarity] * 2)[order].tolist()
        units, starts = np.unique(ends[order], return_index=True)
        stops = np.append(starts, len(order))[1:]
        self._span = {
            u: (s, e)
            for u, s, e in zip(units.tolist(), starts.tolist(), stops.tolist(), strict=True)
        }

    def keep(self, row: Contender) -> None:
        """From now on `row` stands for rows like it."""
        self._place[row.id] = len(self._place)
        if row.unit >= 0:
            self._by_unit.setdefault(row.unit, []).append(row)
        if row.exact_key:
            self._by_key.setdefault(row.exact_key, []).append(row)

    def rival_of(self, row: Contender) -> Lost | None:
        """The kept row that `row` duplicates: a person's choice, else the most alike.

        Of several choices, and of equally alike ones, the most alike and then the first kept, so
        that the order of the pairs plays no part.
        """
        best, best_key = None, (False, 0.0, 0)
        for kept, similarity, is_exact in self._like(row):
            if kept.seed_id == row.seed_id and (self._spare_copies or not is_exact):
                continue
            said = verdict_on(self._verdicts, row.id, kept.id)
            if said is Verdict.KEEP_BOTH:
                continue
            key = (said is Verdict.KEEP_B, similarity, -self._place[kept.id])
            if best is None or key > best_key:
                best, best_key = Lost(row.id, kept.id, similarity, is_exact), key
        return best

    def is_settled(self, lost: Lost) -> bool:
        """True when a person said that this row goes in favour of the other."""
        return verdict_on(self._verdicts, lost.id, lost.to) is Verdict.KEEP_B

    def _like(self, row: Contender) -> list[tuple[Contender, float, bool]]:
        """Kept rows at least the threshold alike: equal ones first."""
        found = [(kept, 1.0, True) for kept in self._by_key.get(row.exact_key, ())]
        found += [
            (kept, 1.0, True)
            for kept in self._by_unit.get(row.unit, ())
            if not row.exact_key or kept.exact_key != row.exact_key
        ]
        start, stop = self._span.get(row.unit, (0, 0))
        for k in range(start, stop):
            for kept in self._by_unit.get(self._others[k], ()):
                if not row.exact_key or kept.exact_key != row.exact_key:
                    found.append((kept, self._alike[k], False))
        return found


def _in_order(
    rows: Sequence[Contender], verdicts: Mapping[tuple[str, str], Verdict]
) -> Sequence[Contender]:
    """The rows by priority, except that who lost by a person's verdict comes after the winner.

    Verdicts that contradict each other in a circle yield to priority.
    """
    place = {row.id: k for k, row in enumerate(rows)}
    losers: dict[int, list[int]] = {}
    waits = [0] * len(rows)
    for (a, b), verdict in verdicts.items():
        if verdict is Verdict.KEEP_BOTH or a not in place or b not in place:
            continue
        winner, loser = (a, b) if verdict is Verdict.KEEP_A else (b, a)
        losers.setdefault(place[winner], []).append(place[loser])
        waits[place[loser]] += 1
    if not losers:
        return rows
    ready = [k for k, count in enumerate(waits) if count == 0]  # ascending, so a heap
    blocked = {k for k, count in enumerate(waits) if count}
    ordered: list[Contender] = []
    while ready or blocked:
        k = heapq.heappop(ready) if ready else min(blocked)
        blocked.discard(k)
        ordered.append(rows[k])
        for freed in losers.get(k, ()):
            waits[freed] -= 1
            if waits[freed] == 0 and freed in blocked:
                blocked.discard(freed)
                heapq.heappush(ready, freed)
    return ordered
