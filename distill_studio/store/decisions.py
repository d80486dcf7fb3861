"""Decisions: append-only, stored once per (user, client id); the state on `pairs` follows.

Start from `record`. What the decisions say is the view `decisions_in_force`; the same transaction
that stores a decision brings the columns of the pairs it touches in line with that view (a few
pairs by `standing.py`, many by one statement), and `out_of_step` finds pairs where they differ (a
test keeps it empty; `rebuild` mends).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from distill_studio.core.records import Decision, DecisionKind, PairStatus
from distill_studio.core.records.base import utc_now
from distill_studio.core.records.labelling import Portion
from distill_studio.store import leases, notes, standing
from distill_studio.store.client_values import plausible_time
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import IS_ANSWER, PairQuery, where_clause
from distill_studio.store.undoing import TAKEN_BACK_OF_TOUCHED

_STATUS = "CASE f.kind WHEN 'reject' THEN 'rejected' ELSE 'accepted' END"

_BRING_IN_LINE = f"""{TAKEN_BACK_OF_TOUCHED},
standing AS MATERIALIZED (
    SELECT d.*, coalesce(d.is_final, false) AS settles FROM d
    ANTI JOIN taken_back USING (user_name, id) WHERE d.kind IN ('accept', 'edit', 'reject')
),
v AS MATERIALIZED (
    SELECT * FROM standing WHERE NOT settles
    QUALIFY row_number() OVER (PARTITION BY pair_id, user_name ORDER BY seq DESC) = 1
),
tally AS MATERIALIZED (
    SELECT pair_id, count(*) AS n, count(*) FILTER (kind = 'reject') AS noes
    FROM v GROUP BY pair_id
),
candidates AS (
    SELECT s.pair_id, s.kind, s.answer, s.reason, s.user_name, s.made_at, s.seq, 0 AS rank,
           0 AS backing
    FROM standing s, labelling_overlap o WHERE o.overlap = 1 OR s.settles
    UNION ALL
    SELECT v.pair_id, v.kind, v.answer, v.reason, v.user_name, v.made_at, v.seq, 1,
           count(*) OVER (PARTITION BY v.pair_id, CASE v.kind WHEN 'edit' THEN v.answer END)
    FROM v JOIN tally t ON t.pair_id = v.pair_id, labelling_overlap o
    WHERE o.overlap > 1 AND t.n >= o.overlap AND 2 * t.noes <> t.n
      AND (v.kind = 'reject') = (2 * t.noes > t.n)
),
in_force AS (
    SELECT * FROM candidates
    QUALIFY row_number() OVER (PARTITION BY pair_id ORDER BY rank, backing DESC, seq DESC) = 1
),
f AS (
    SELECT touched.pair_id, i.kind, i.answer, i.reason, i.user_name, i.made_at,
           coalesce(t.n, 0) AS n,
           o.overlap > 1 AND coalesce(t.n >= o.overlap AND 2 * t.noes = t.n, false)
               AND touched.pair_id NOT IN (SELECT pair_id FROM standing WHERE settles) AS is_tie
    FROM touched LEFT JOIN in_force i USING (pair_id) LEFT JOIN tally t USING (pair_id),
         labelling_overlap o
)
UPDATE pairs SET
    status = CASE WHEN f.kind IS NULL THEN 'pending' ELSE {_STATUS} END,
    edited_answer = CASE f.kind WHEN 'edit' THEN f.answer END,
    reject_reason = CASE f.kind WHEN 'reject' THEN f.reason ELSE '' END,
    decided_by = coalesce(f.user_name, ''),
    decided_at = f.made_at,
    votes = f.n,
    is_disputed = f.is_tie
FROM f WHERE pairs.id = f.pair_id
"""


def record(db: Database, user: str, decisions: Sequence[Decision]) -> list[str]:
    """Store decisions in their order and bring the pairs in line, in one transaction.

    A decision whose (user, id) is there already is left as it was first stored.

    Returns:
        The ids that are now stored, earlier or by this call; the others were refused.
    """
    return settle(db, user, decisions)[0]


def settle(
    db: Database, user: str, decisions: Sequence[Decision], *, may_settle: bool = True
) -> tuple[list[str], dict[str, str]]:
    """As `record`; returns the stored ids, and the refused ones with the reason.

    Refused for good are: a final word of who `may_settle` nothing, an unknown pair, an edit without
    text, an undo of something that is not this user's or is about another pair.
    """
    with db.write():
        there = _stored(db, user, [i for d in decisions for i in (d.id, d.undoes) if i])
        pairs_there = _pairs_there(db, [d.pair_id for d in decisions if d.id not in there])
        fresh: dict[str, Decision] = {}
        refused: dict[str, str] = {}
        undoable = dict(there)
        for d in decisions:
            if d.id in there or d.id in fresh or d.id in refused:
                continue
            reason = _refusal(d, pairs_there, undoable)
            if d.is_final and not may_settle:
                reason = "Only an owner or an adjudicator settles a record."
            if reason:
                refused[d.id] = reason
            else:
                fresh[d.id] = d
                undoable[d.id] = d.pair_id
        _append(db, user, list(fresh.values()))
        bring_in_line(db, (d.pair_id for d in fresh.values()))
        notes.bring_in_line(db, user, fresh.values())
    return [d.id for d in decisions if d.id not in refused], refused


def bring_in_line(db: Database, pair_ids: Iterable[str]) -> None:
    """Set the decision columns of these pairs to what the decisions in force say."""
    touched = list(dict.fromkeys(pair_ids))
    if len(touched) <= standing.FEW:
        if touched:
            standing.bring_few_in_line(db, touched)
    else:
        with db.write() as cursor:
            cursor.execute(_BRING_IN_LINE, {"pairs": touched}).fetchall()


def out_of_step(db: Database) -> list[str]:
    """Ids of pairs whose columns differ from the view `decisions_in_force` (should be none)."""
    rows = db.rows(
        f"""SELECT p.id FROM pairs p LEFT JOIN decisions_in_force f ON f.pair_id = p.id
        LEFT JOIN review_tallies t ON t.pair_id = p.id
        WHERE p.status <> CASE WHEN f.kind IS NULL THEN 'pending' ELSE {_STATUS} END
           OR p.edited_answer IS DISTINCT FROM CASE f.kind WHEN 'edit' THEN f.answer END
           OR p.reject_reason <> CASE f.kind WHEN 'reject' THEN f.reason ELSE '' END
           OR p.decided_by <> coalesce(f.user_name, '')
           OR p.decided_at IS DISTINCT FROM f.made_at
           OR p.votes <> coalesce(t.votes, 0)
           OR p.is_disputed <> coalesce(t.is_disputed, false)
        ORDER BY p.id"""
    )
    return [r["id"] for r in rows]


def rebuild(db: Database) -> int:
    """Bring every pair that is out of step in line again; returns how many there were."""
    with db.write():
        wrong = out_of_step(db)
        bring_in_line(db, wrong)
    return len(wrong)


def record_bulk(
    db: Database,
    user: str,
    bulk_id: str,
    query: PairQuery,
    kind: DecisionKind,
    reason: str,
    *,
    is_final: bool = False,
    portion: Portion | None = None,
) -> int:
    """Accept or reject all pairs of a query that are not so already, under one `bulk_id`.

    `is_final` settles them whatever others vote; with a `portion`, only what its person may be
    handed and nobody else holds. Sending the same `bulk_id` again changes nothing.

    Returns:
        How many pairs the bulk decided; of one sent again, how many of its decisions stand.
    """
    with db.write() as cursor:
        if has_bulk(db, user, bulk_id):
            return bulk_size(db, user, bulk_id)
        where, params = bulk_where(query, kind, portion)
        cursor.execute(
            f"""INSERT INTO decisions (seq, user_name, id, pair_id, kind, reason, made_at, bulk_id,
                is_final)
            SELECT nextval('decision_order'), ?, ? || ':' || row_number() OVER (ORDER BY id),
                   id, ?, ?, ?, ?, ? FROM pairs WHERE {where}""",
            [user, bulk_id, kind.value, reason, utc_now(), bulk_id, is_final, *params],
        ).fetchall()
        bring_in_line(db, _bulk_pairs(db, user, bulk_id))
        return bulk_size(db, user, bulk_id)


def bulk_where(
    query: PairQuery, kind: DecisionKind, portion: Portion | None = None
) -> tuple[str, list[Any]]:
    """Condition and parameters for the pairs a bulk would change."""
    target = PairStatus.REJECTED if kind is DecisionKind.REJECT else PairStatus.ACCEPTED
    where, found = where_clause(query)
    tests = [where, "status <> ?"]
    params: list[Any] = [*found, target.value]
    if portion is not None:
        mine, of_portion = leases.portion_clause(portion)
        free, of_leases = leases.not_held_by_others(leases.REVIEW, portion.user, utc_now())
        tests += [mine, free]
        params += [*of_portion, *of_leases]
    return " AND ".join(tests), params


def bulk_count(
    db: Database, query: PairQuery, kind: DecisionKind, portion: Portion | None = None
) -> int:
    """How many pairs a bulk would change."""
    where, params = bulk_where(query, kind, portion)
    return int(db.value(f"SELECT count(*) FROM pairs WHERE {where}", params))


def bulk_first(
    db: Database,
    query: PairQuery,
    kind: DecisionKind,
    limit: int,
    portion: Portion | None = None,
) -> list[str]:
    """Ids of the first pairs that a bulk would change, oldest first."""
    where, params = bulk_where(query, kind, portion)
    rows = db.rows(f"SELECT id FROM pairs WHERE {where} ORDER BY id LIMIT ?", [*params, limit])
    return [row["id"] for row in rows]


def has_bulk(db: Database, user: str, bulk_id: str) -> bool:
    """Whether this user's bulk is stored, taken back or not."""
    sql = "SELECT count(*) FROM decisions WHERE user_name = ? AND bulk_id = ?"
    return bool(db.value(sql, [user, bulk_id]))


def bulk_size(db: Database, user: str, bulk_id: str) -> int:
    """How many decisions of a bulk are not taken back; 0 when there is no such bulk."""
    return int(
        db.value(
            """SELECT count(*) FROM decisions d ANTI JOIN decisions_taken_back USING (user_name, id)
            WHERE d.user_name = ? AND d.bulk_id = ? AND d.kind <> 'undo'""",
            [user, bulk_id],
        )
    )


def undo_bulk(db: Database, user: str, bulk_id: str) -> int:
    """Take a whole bulk back; again changes nothing. Returns how many decisions were undone."""
    return _append_bulk_undos(
        db,
        user,
        bulk_id,
        """SELECT d.id, d.pair_id FROM decisions d
        ANTI JOIN decisions_taken_back USING (user_name, id)
        WHERE d.user_name = $user AND d.bulk_id = $bulk AND d.kind <> 'undo'""",
    )


def redo_bulk(db: Database, user: str, bulk_id: str) -> int:
    """Take the undo of a bulk back; again changes nothing. Returns how many hold again.

    What was undone by itself, before the bulk was, stays undone.
    """
    return _append_bulk_undos(
        db,
        user,
        bulk_id,
        """WITH RECURSIVE mine AS (
            SELECT * FROM decisions WHERE user_name = $user AND pair_id IN (
                SELECT pair_id FROM decisions WHERE user_name = $user AND bulk_id = $bulk)
        ), chain AS (
            SELECT t.id AS root, u.id, u.pair_id, u.bulk_id, u.seq, 1 AS depth
            FROM mine u JOIN mine t ON t.id = u.undoes
            WHERE u.kind = 'undo' AND t.kind <> 'undo' AND t.bulk_id = $bulk
            UNION ALL
            SELECT c.root, u.id, u.pair_id, u.bulk_id, u.seq, c.depth + 1
            FROM mine u JOIN chain c ON u.undoes = c.id WHERE u.kind = 'undo'
        )
        SELECT arg_max(id, seq) AS id, pair_id FROM chain GROUP BY root, pair_id
        HAVING arg_max(depth, seq) % 2 = 1 AND arg_max(bulk_id, seq) = $bulk""",
    )


def _append_bulk_undos(db: Database, user: str, bulk_id: str, undone: str) -> int:
    """Store an undo, under the bulk's id, of each decision that a query lists: `id`, `pair_id`."""
    with db.write() as cursor:
        rows = cursor.execute(
            f"""INSERT INTO decisions (seq, user_name, id, pair_id, kind, undoes, made_at, bulk_id)
            SELECT nextval('decision_order'), $user, uuid()::VARCHAR, pair_id, 'undo', id, $now,
                   $bulk FROM ({undone})
            RETURNING pair_id""",
            {"user": user, "bulk": bulk_id, "now": utc_now()},
        ).fetchall()
        bring_in_line(db, _bulk_pairs(db, user, bulk_id))
    return len(rows)


def history(db: Database, pair_id: str) -> list[Row]:
    """Every decision about a pair, oldest first, with `is_taken_back`."""
    return db.rows(
        """SELECT d.user_name AS "user", d.id, d.kind, d.answer, d.reason, d.note,
                  coalesce(d.tags, []) AS tags, d.undoes, d.bulk_id, d.made_at,
                  coalesce(d.is_final, false) AS is_final,
                  t.id IS NOT NULL AS is_taken_back
        FROM decisions d LEFT JOIN decisions_taken_back t USING (user_name, id)
        WHERE d.pair_id = ? ORDER BY d.seq""",
        [pair_id],
    )


def counts(db: Database, user: str, since: datetime) -> Row:
    """`accepted`, `edited`, `rejected` now; `mine` in force by the user, `mine_since` of those."""
    return (
        db.row(
            f"""SELECT count(*) FILTER (status = 'accepted' AND edited_answer IS NULL) AS accepted,
            count(*) FILTER (edited_answer IS NOT NULL) AS edited,
            count(*) FILTER (status = 'rejected') AS rejected,
            count(*) FILTER (status = 'pending' AND curation = 'kept') AS pending,
            count(*) FILTER (status = 'pending' AND curation <> 'kept') AS set_aside,
            count(*) FILTER (decided_by = $user) AS mine,
            count(*) FILTER (decided_by = $user AND decided_at >= $since) AS mine_today
            FROM pairs WHERE {IS_ANSWER}""",
            {"user": user, "since": since},
        )
        or {}
    )


def _refusal(d: Decision, pairs_there: set[str], undoable: dict[str, str]) -> str:
    """Why this decision can never be stored, or ''."""
    if d.pair_id not in pairs_there:
        return "There is no such pair in this workspace."
    if d.kind is DecisionKind.EDIT and not (d.answer or "").strip():
        return "An edit needs the new answer; it was empty."
    if d.kind is DecisionKind.UNDO and undoable.get(d.undoes or "") != d.pair_id:
        return "It undoes a decision that is not yours or not stored."
    return ""


def is_voter(db: Database, user: str, pair_id: str) -> bool:
    """True when a decision of this person on the pair is in force."""
    sql = "SELECT count(*) FROM review_votes WHERE user_name = ? AND pair_id = ?"
    return bool(db.value(sql, [user, pair_id]))


def vote_count(db: Database, user: str, since: datetime) -> Row:
    """On how many pairs this person has a vote in force: `total`, and `since` a time."""
    return (
        db.row(
            """SELECT count(*) AS total, count(*) FILTER (made_at >= ?) AS since
            FROM review_votes WHERE user_name = ?""",
            [since, user],
        )
        or {}
    )


def _append(db: Database, user: str, decisions: Sequence[Decision]) -> None:
    if not decisions:
        return
    numbers = db.rows("SELECT nextval('decision_order') AS seq FROM range(?)", [len(decisions)])
    numbered = zip(sorted(r["seq"] for r in numbers), decisions, strict=True)
    db.insert(
        "decisions",
        [
            {
                "seq": seq,
                "user_name": user,
                **d.model_dump(exclude={"kind", "made_at", "tags"}),
                "kind": d.kind.value,
                "tags": list(d.tags),
                "made_at": plausible_time(d.made_at),
            }
            for seq, d in numbered
        ],
    )


def _stored(db: Database, user: str, ids: Sequence[str]) -> dict[str, str]:
    """Those of this user's decision ids that are stored, with their pairs."""
    rows = db.rows(
        "SELECT id, pair_id FROM decisions"
        " WHERE user_name = ? AND id IN (SELECT unnest(?::VARCHAR[]))",
        [user, list(ids)],
    )
    return {r["id"]: r["pair_id"] for r in rows}


def _pairs_there(db: Database, ids: Sequence[str]) -> set[str]:
    rows = db.rows("SELECT id FROM pairs WHERE id IN (SELECT unnest(?::VARCHAR[]))", [list(ids)])
    return {r["id"] for r in rows}


def _bulk_pairs(db: Database, user: str, bulk_id: str) -> list[str]:
    rows = db.rows(
        "SELECT DISTINCT pair_id FROM decisions WHERE user_name = ? AND bulk_id = ?",
        [user, bulk_id],
    )
    return [r["pair_id"] for r in rows]
