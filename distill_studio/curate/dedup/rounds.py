"""`keep_first` of very many rows at once: the same outcome, decided in rounds over arrays.

In each round a row is lost when a row like it is kept already, and kept when no row before it that
is like it is still open; the others wait. Rows near to few others, which is nearly all, are decided
in a handful of rounds. What people said of single pairs, and chains that would take many rounds,
concern few rows: those, with all that hang together with them, are decided one by one (`groups`).

Equal rows are never compared in pairs. Of the kept rows of one text two count: the first, and the
first of another seed than that one's (candidates of one seed do not stand for each other).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy

from distill_studio.curate.dedup import groups
from distill_studio.curate.dedup.groups import Contender, Edges, Verdict
from distill_studio.curate.dedup.vectors import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]
Verdicts = Mapping[tuple[str, str], Verdict]

_ROUNDS = 40


@dataclass(frozen=True)
class Contenders:
    """N rows that may stand for others or be stood for, the first to be kept first.

    ids: (N,) strings; seed: (N,) equal numbers for answers to one seed; unit: (N,) number of the
    text among the compared ones, -1 when it is not embedded yet; key: (N,) equal for rows that are
    the same but for case, space and punctuation, -1 for none; is_protected: (N,) accepted by a
    person.
    """

    ids: pa.Array
    seed: IntArray
    unit: IntArray
    key: IntArray
    is_protected: BoolArray

    def __len__(self) -> int:
        return len(self.seed)

    def id(self, place: int) -> str:
        """The id of the row at a place."""
        return str(self.ids[place].as_py())


@dataclass(frozen=True)
class Losses:
    """Rows (by place) and the kept rows that they duplicate, in order of `row`."""

    row: IntArray
    to: IntArray
    similarity: FloatArray
    is_exact: BoolArray

    def __len__(self) -> int:
        return len(self.row)

    def where(self, chosen: BoolArray | IntArray) -> "Losses":
        """Some of them."""
        return Losses(
            self.row[chosen], self.to[chosen], self.similarity[chosen], self.is_exact[chosen]
        )


@dataclass(frozen=True)
class Groups:
    """Who is removed, and who would be, had a person not accepted it."""

    removed: Losses
    conflicts: Losses


def group_rows(
    rows: Contenders,
    edges: Edges,
    *,
    spare_copies: bool = False,
    verdicts: Verdicts | None = None,
    remove_protected: bool = False,
) -> Groups:
    """What `groups.keep_first` gives for the same rows and arguments."""
    graph = _Graph(rows, edges, spare_copies)
    told = _places(rows.ids, verdicts or {})
    alone = graph.parts_with(told.ravel(), told) if len(told) else np.zeros(len(rows), bool)
    kept, is_open = _decide(graph, ~alone)
    if is_open.any():
        alone |= graph.parts_with(np.flatnonzero(is_open), told)
    lost = _rivals(graph, np.flatnonzero(~kept & ~alone), np.flatnonzero(kept & ~alone))
    is_conflict = rows.is_protected[lost.row] & (not remove_protected)
    outcome = Groups(lost.where(~is_conflict), lost.where(is_conflict))
    if not alone.any():
        return outcome
    told_by = {"spare_copies": spare_copies, "remove_protected": remove_protected}
    slow = _one_by_one(rows, edges, np.flatnonzero(alone), verdicts or {}, **told_by)
    return Groups(_merge(outcome.removed, slow.removed), _merge(outcome.conflicts, slow.conflicts))


class _Graph:
    """Who is like whom."""

    def __init__(self, rows: Contenders, edges: Edges, spare_copies: bool) -> None:
        self.rows, self.spare_copies, self._edges = rows, spare_copies, edges
        ends = [rows.unit, edges.a, edges.b]
        self.units = max((int(e.max(initial=-1)) for e in ends), default=-1) + 1
        self.keys = int(rows.key.max(initial=-1)) + 1

    @cached_property
    def near(self) -> tuple[IntArray, IntArray, FloatArray]:
        """(row, other unit, similarity) of each row and each unit near to its own, by row."""
        ends = np.concatenate([self._edges.a, self._edges.b])
        order = np.argsort(ends, kind="stable")
        others = np.concatenate([self._edges.b, self._edges.a])[order]
        alike = np.concatenate([self._edges.similarity] * 2)[order]
        starts = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=self.units))])
        compared = np.flatnonzero(self.rows.unit >= 0)
        begin = starts[self.rows.unit[compared]]
        count = starts[self.rows.unit[compared] + 1] - begin
        step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        at = np.repeat(begin, count) + step
        return np.repeat(compared, count), others[at], alike[at]

    def firsts(self, members: IntArray) -> tuple["_Firsts", "_Firsts"]:
        """The first of some rows by key and by unit."""
        seed = self.rows.seed
        return (
            _Firsts(self.rows.key, members, seed, self.keys),
            _Firsts(self.rows.unit, members, seed, self.units),
        )

    def equal(self, asking: IntArray, among: tuple["_Firsts", "_Firsts"]) -> IntArray:
        """(A,) the first of some rows that is equal to each asking one; N when there is none."""
        by_key, by_unit = among
        key, unit = self.rows.key[asking], self.rows.unit[asking]
        if self.spare_copies:
            seed = self.rows.seed[asking]
            return np.minimum(by_key.of_other_seed(key, seed), by_unit.of_other_seed(unit, seed))
        return np.asarray(np.minimum(by_key.first[key], by_unit.first[unit]), np.int64)

    def parts_with(self, chosen: IntArray, ties: IntArray) -> BoolArray:
        """(N,) whether a row hangs together with one of the chosen, over any number of steps.

        Args:
            chosen: Places of rows.
            ties: (T, 2) places of rows that hang together for another reason.
        """
        n = len(self.rows)
        with_unit = np.flatnonzero(self.rows.unit >= 0)
        with_key = np.flatnonzero(self.rows.key >= 0)
        units, keys = n, n + self.units  # where their nodes begin
        left = [with_unit, with_key, self._edges.a + units, ties[:, 0]]
        right = [
            self.rows.unit[with_unit] + units,
            self.rows.key[with_key] + keys,
            self._edges.b + units,
            ties[:, 1],
        ]
        one, other = np.concatenate(left), np.concatenate(right)
        size = keys + self.keys
        links = scipy.sparse.coo_matrix((np.ones(len(one), bool), (one, other)), shape=(size, size))
        _, part = scipy.sparse.csgraph.connected_components(links, directed=False)
        return np.isin(part[:n], np.unique(part[chosen]))


class _Firsts:
    """By group the first of some rows, and the first of another seed than that one's.

    first, second: (groups + 1,) places, N where there is none. The last entry stays empty: rows
    without a group (-1) find nothing there.
    """

    def __init__(self, group: IntArray, members: IntArray, seed: IntArray, groups: int) -> None:
        none = len(seed)
        self._seed = np.append(seed, -1)
        members = members[group[members] >= 0]
        self.first = np.full(groups + 1, none)
        np.minimum.at(self.first, group[members], members)
        others = members[seed[members] != self._seed[self.first[group[members]]]]
        self._second = np.full(groups + 1, none)
        np.minimum.at(self._second, group[others], others)

    def of_other_seed(self, group: IntArray, seed: IntArray) -> IntArray:
        """The first row of each group that is no answer to the seed beside it."""
        first = self.first[group]
        return np.where(self._seed[first] == seed, self._second[group], first)


def _decide(graph: _Graph, taking_part: BoolArray) -> tuple[BoolArray, BoolArray]:
    """(N,) rows kept, and rows still open after the last round."""
    n = len(graph.rows)
    kept, is_open = np.zeros(n, bool), taking_part.copy()
    row, unit, _ = graph.near
    for _ in range(_ROUNDS):
        live = is_open[row]
        row, unit = row[live], unit[live]
        lost = _first_like(graph, is_open, kept, row, unit) < n
        is_open &= ~lost
        waiting = _first_like(graph, is_open, is_open, row, unit) < np.arange(n)
        kept |= is_open & ~waiting
        is_open &= waiting
        if not is_open.any():
            break
    return kept, is_open


def _first_like(
    graph: _Graph, asking: BoolArray, among: BoolArray, row: IntArray, unit: IntArray
) -> IntArray:
    """(N,) for each asking row the first of some rows that is like it; N when none is."""
    n = len(graph.rows)
    found = np.full(n, n)
    firsts = graph.firsts(np.flatnonzero(among))
    places = np.flatnonzero(asking)
    found[places] = graph.equal(places, firsts)
    np.minimum.at(found, row, firsts[1].of_other_seed(unit, graph.rows.seed[row]))
    found[~asking] = n
    return found


def _rivals(graph: _Graph, lost: IntArray, kept: IntArray) -> Losses:
    """For each lost row the kept one before it that is most alike, of equally alike the first."""
    n = len(graph.rows)
    firsts = graph.firsts(kept)
    equal = np.full(n, n)
    equal[lost] = graph.equal(lost, firsts)
    row, unit, alike = graph.near
    asking = np.zeros(n, bool)
    asking[lost] = True
    asked = asking[row]
    row, unit, alike = row[asked], unit[asked], alike[asked]
    rival = firsts[1].of_other_seed(unit, graph.rows.seed[row])
    before = rival < row
    row, rival, alike = row[before], rival[before], alike[before]
    order = np.lexsort((rival, -alike, row))
    row, at = np.unique(row[order], return_index=True)
    near, similarity = np.full(n, n), np.zeros(n)
    near[row], similarity[row] = rival[order[at]], alike[order[at]]
    is_equal = equal < np.arange(n)
    is_nearer = (similarity >= 1.0) & (
        near < equal
    )  # quite as alike, and kept before the equal one
    is_exact = is_equal & ~is_nearer
    return Losses(
        lost,
        np.where(is_exact, equal, near)[lost],
        np.where(is_exact, 1.0, similarity)[lost],
        is_exact[lost],
    )


def _one_by_one(
    rows: Contenders,
    edges: Edges,
    places: IntArray,
    verdicts: Verdicts,
    *,
    spare_copies: bool,
    remove_protected: bool,
) -> Groups:
    """The outcome of some rows that are like no others."""
    ids = rows.ids.take(pa.array(places)).to_pylist()
    columns = (rows.seed, rows.unit, rows.key, rows.is_protected)
    some = [
        Contender(one, str(seed), unit, str(key) if key >= 0 else "", protected)
        for one, seed, unit, key, protected in zip(
            ids, *(column[places].tolist() for column in columns), strict=True
        )
    ]
    live = np.isin(edges.a, rows.unit[places]) & np.isin(edges.b, rows.unit[places])
    outcome = groups.keep_first(
        some,
        Edges(edges.a[live], edges.b[live], edges.similarity[live]),
        spare_copies=spare_copies,
        verdicts=verdicts,
        remove_protected=remove_protected,
    )
    at = dict(zip(ids, places.tolist(), strict=True))
    return Groups(_losses(outcome.removed, at), _losses(outcome.conflicts, at))


def _losses(lost: Sequence[groups.Lost], at: Mapping[str, int]) -> Losses:
    return Losses(
        np.array([at[one.id] for one in lost], np.int64),
        np.array([at[one.to] for one in lost], np.int64),
        np.array([one.similarity for one in lost], np.float64),
        np.array([one.is_exact for one in lost], bool),
    )


def _merge(one: Losses, other: Losses) -> Losses:
    joined = Losses(
        np.concatenate([one.row, other.row]),
        np.concatenate([one.to, other.to]),
        np.concatenate([one.similarity, other.similarity]),
        np.concatenate([one.is_exact, other.is_exact]),
    )
    return joined.where(np.argsort(joined.row))


def _places(ids: pa.Array, verdicts: Verdicts) -> IntArray:
    """(V, 2) places of the rows of each verdict; verdicts on other rows are left out."""
    if not verdicts:
        return np.zeros((0, 2), np.int64)
    told = pa.array([one for pair in verdicts for one in pair], pa.string())
    found = pc.index_in(told, value_set=ids).fill_null(-1).to_numpy(zero_copy_only=False)
    pairs: IntArray = found.astype(np.int64).reshape(-1, 2)
    return pairs[(pairs >= 0).all(axis=1)]
