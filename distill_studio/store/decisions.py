"""Decisions: append-only, stored once per (user, client id); the state on `pairs` follows.

Start from `record`. What the decisions say is the view `decisions_in_force`; the same transaction
that stores a decision brings the columns of the pairs it touches in line with that view, and
`out_of_step` finds pairs where they differ (a test keeps it empty; `rebuild` mends).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from distill_studio.core.records import Decision, DecisionKind, PairStatus
from distill_studio.core.records.base import utc_now
from distill_studio.store.client_values import plausible_time
from distill_studio.store.database import Database, Row
from distill_studio.store.pairs import IS_ANSWER, PairQuery, where_clause

_STATUS = "CASE f.kind WHEN 'reject' THEN 'rejected' ELSE 'accepted' END"

# The view `decisions_in_force`, read from the decisions of the touched pairs only: an undo names
# the pair of what it undoes, so a pair's decisions are complete in themselves.
_BRING_IN_LINE = f"""
WITH RECURSIVE touched AS MATERIALIZED (SELECT DISTINCT unnest(?::VARCHAR[]) AS pair_id),
d AS MATERIALIZED (SELECT * FROM decisions SEMI JOIN touched USING (pair_id)),
chain AS (
    SELECT u.user_name, t.id AS root, u.id, u.seq, 1 AS depth
    FROM d u JOIN d t ON t.user_name = u.user_name AND t.id = u.undoes
    WHERE u.kind = 'undo' AND t.kind <> 'undo'
    UNION ALL
    SELECT u.user_name, c.root, u.id, u.seq, c.depth + 1
    FROM d u JOIN chain c ON u.user_name = c.user_name AND u.undoes = c.id
    WHERE u.kind = 'undo'
),
taken_back AS (
    SELECT user_name, root AS id FROM chain
    GROUP BY user_name, root HAVING arg_max(depth, seq) % 2 = 1
),
in_force AS (
    SELECT d.* FROM d ANTI JOIN taken_back USING (user_name, id)
    WHERE d.kind IN ('accept', 'edit', 'reject')
    QUALIFY row_number() OVER (PARTITION BY d.pair_id ORDER BY d.seq DESC) = 1
),
f AS (SELECT touched.pair_id, kind, answer, reason, user_name, made_at
      FROM touched LEFT JOIN in_force USING (pair_id))
UPDATE pairs SET
    status = CASE WHEN f.kind IS NULL THEN 'pending' ELSE {_STATUS} END,
    edited_answer = CASE f.kind WHEN 'edit' THEN f.answer END,
    reject_reason = CASE f.kind WHEN 'reject' THEN f.reason ELSE '' END,
    decided_by = coalesce(f.user_name, ''),
    decided_at = f.made_at
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
    db: Database, user: str, decisions: Sequence[Decision]
) -> tuple[list[str], dict[str, str]]:
    """As `record`; returns the stored ids, and the refused ones with the reason.

    Refused for good are: an unknown pair, an edit without text, an undo of something that is not
    this user's or is about another pair.
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
            if reason:
                refused[d.id] = reason
            else:
                fresh[d.id] = d
                undoable[d.id] = d.pair_id
        _append(db, user, list(fresh.values()))
        bring_in_line(db, (d.pair_id for d in fresh.values()))
    return [d.id for d in decisions if d.id not in refused], refused


def bring_in_line(db: Database, pair_ids: Iterable[str]) -> None:
    """Set the decision columns of these pairs to what the decisions in force say."""
    touched = list(dict.fromkeys(pair_ids))
    if touched:
        with db.write() as cursor:
            cursor.execute(_BRING_IN_LINE, [touched]).fetchall()


def out_of_step(db: Database) -> list[str]:
    """Ids of pairs whose columns differ from the view `decisions_in_force` (should be none)."""
    rows = db.rows(
        f"""SELECT p.id FROM pairs p LEFT JOIN decisions_in_force f ON f.pair_id = p.id
        WHERE p.status <> CASE WHEN f.kind IS NULL THEN 'pending' ELSE {_STATUS} END
           OR p.edited_answer IS DISTINCT FROM CASE f.kind WHEN 'edit' THEN f.answer END
           OR p.reject_reason <> CASE f.kind WHEN 'reject' THEN f.reason ELSE '' END
           OR p.decided_by <> coalesce(f.user_name, '')
           OR p.decided_at IS DISTINCT FROM f.made_at
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
    db: Database, user: str, bulk_id: str, query: PairQuery, kind: DecisionKind, reason: str
) -> int:
    """Accept or reject all pairs of a query that are not so already, under one `bulk_id`.

    Sending the same `bulk_id` again changes nothing.

    Returns:
        How many pairs the bulk decided.
    """
    with db.write() as cursor:
        there = bulk_size(db, user, bulk_id)
        if there:
            return there
        where, params = bulk_where(query, kind)
        cursor.execute(
            f"""INSERT INTO decisions (seq, user_name, id, pair_id, kind, reason, made_at, bulk_id)
            SELECT nextval('decision_order'), ?, ? || ':' || row_number() OVER (ORDER BY id),
                   id, ?, ?, ?, ? FROM pairs WHERE {where}""",
            [user, bulk_id, kind.value, reason, utc_now(), bulk_id, *params],
        ).fetchall()
        bring_in_line(db, _bulk_pairs(db, user, bulk_id))
        return bulk_size(db, user, bulk_id)


def bulk_where(query: PairQuery, kind: DecisionKind) -> tuple[str, list[str]]:
    """Condition and parameters for the pairs a bulk would change."""
    target = PairStatus.REJECTED if kind is DecisionKind.REJECT else PairStatus.ACCEPTED
    where, params = where_clause(query)
    return f"{where} AND status <> ?", [*params, target.value]


def bulk_count(db: Database, query: PairQuery, kind: DecisionKind) -> int:
    """How many pairs a bulk would change."""
    where, params = bulk_where(query, kind)
    return int(db.value(f"SELECT count(*) FROM pairs WHERE {where}", params))


def bulk_size(db: Database, user: str, bulk_id: str) -> int:
    """How many decisions a bulk holds; 0 when there is no such bulk."""
    return int(
        db.value(
            "SELECT count(*) FROM decisions WHERE user_name = ? AND bulk_id = ? AND kind <> 'undo'",
            [user, bulk_id],
        )
    )


def undo_bulk(db: Database, user: str, bulk_id: str) -> int:
    """Take a whole bulk back; again changes nothing. Returns how many decisions were undone."""
    with db.write() as cursor:
        pair_ids = _bulk_pairs(db, user, bulk_id)
        rows = cursor.execute(
            """INSERT INTO decisions (seq, user_name, id, pair_id, kind, undoes, made_at, bulk_id)
            SELECT nextval('decision_order'), d.user_name, 'undo:' || d.id, d.pair_id, 'undo', d.id,
                   ?, d.bulk_id
            FROM decisions d
            WHERE d.user_name = ? AND d.bulk_id = ? AND d.kind <> 'undo'
              AND NOT EXISTS (SELECT 1 FROM decisions u
                              WHERE u.user_name = d.user_name AND u.id = 'undo:' || d.id)
            RETURNING pair_id""",
            [utc_now(), user, bulk_id],
        ).fetchall()
        bring_in_line(db, pair_ids)
    return len(rows)


def history(db: Database, pair_id: str) -> list[Row]:
    """Every decision about a pair, oldest first, with `is_taken_back`."""
    return db.rows(
        """SELECT d.user_name AS "user", d.id, d.kind, d.answer, d.reason, d.note, d.undoes,
                  d.bulk_id, d.made_at, t.id IS NOT NULL AS is_taken_back
        FROM decisions d LEFT JOIN decisions_taken_back t USING (user_name, id)
        WHERE d.pair_id = ? ORDER BY d.seq""",
        [pair_id],
    )


def recent(db: Database, user: str, limit: int) -> list[Row]:
    """What this user could undo, newest first: `id`, `pair_id`, `kind`, `bulk_id`, `count`.

    A bulk is one row, with its number of decisions as `count`.
    """
    return db.rows(
        """WITH mine AS (
            SELECT d.seq, d.id, d.pair_id, d.kind, coalesce(d.bulk_id, '') AS bulk_id
            FROM decisions d ANTI JOIN decisions_taken_back t USING (user_name, id)
            WHERE d.user_name = ? AND d.kind <> 'undo'
        )
        SELECT arg_max(id, seq) AS id, arg_max(pair_id, seq) AS pair_id,
               arg_max(kind, seq) AS kind, bulk_id, count(*) AS count
        FROM mine GROUP BY bulk_id, CASE bulk_id WHEN '' THEN id ELSE '' END
        ORDER BY max(seq) DESC LIMIT ?""",
        [user, limit],
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


def reasons(db: Database, limit: int = 9) -> list[str]:
    """Reject reasons given so far, most frequent first."""
    rows = db.rows(
        "SELECT reject_reason FROM pairs WHERE reject_reason <> ''"
        " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT ?",
        [limit],
    )
    return [r["reject_reason"] for r in rows]


def _refusal(d: Decision, pairs_there: set[str], undoable: dict[str, str]) -> str:
    """Why this decision can never be stored, or ''."""
    if d.pair_id not in pairs_there:
        return "There is no such pair in this workspace."
    if d.kind is DecisionKind.EDIT and not (d.answer or "").strip():
        return "An edit needs the new answer; it was empty."
    if d.kind is DecisionKind.UNDO and undoable.get(d.undoes or "") != d.pair_id:
        return "It undoes a decision that is not yours or not stored."
    return ""


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
                **d.model_dump(exclude={"kind", "made_at"}),
                "kind": d.kind.value,
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
