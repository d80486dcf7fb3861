"""Leases: what was handed to whom, so that two people do not do the same one.

A lease is a courtesy, not a lock: a decision of somebody without one is stored all the same. It
ends with the decision, with the log-out, or at its time. Start from `next_pairs`.
"""

from collections.abc import Sequence
from datetime import datetime

from distill_studio.core.records.labelling import Portion
from distill_studio.store.database import Database, Params
from distill_studio.store.pairs import IS_ANSWER, SORT_KEYS, PairQuery, where_clause

REVIEW, PREFER = "review", "prefer"
_BY_LOT = "md5_number_lower(seed_id) % 100"


def next_pairs(
    db: Database, query: PairQuery, portion: Portion, have: Sequence[str], now: datetime
) -> list[str]:
    """Ids of the next undecided pairs for one person, in the order of the query.

    Left out are: those the person holds or has voted on, those of others' portions, and those whose
    votes and live leases of others already make up the overlap.

    Args:
        db: The store.
        query: Filters, order and limit; its keyset does not matter.
        portion: Whose, and what part.
        have: Ids that the person's page holds.
        now: Leases that end later are live.
    """
    where, params = where_clause(query)
    mine, mine_params = portion_clause(portion)
    tests = [where, mine, "status = 'pending'", "NOT is_disputed"]
    tests.append("votes + coalesce(taken, 0) < ?")
    tests.append("id NOT IN (SELECT unnest(?::VARCHAR[]))")
    values = [now, portion.user, *params, *mine_params, portion.overlap, list(have)]
    if portion.overlap > 1:
        tests.append("id NOT IN (SELECT pair_id FROM review_votes WHERE user_name = ?)")
        values.append(portion.user)
    key = f"{SORT_KEYS[query.sort]}, " if query.sort else ""
    order = "DESC" if query.newest_first and not query.sort else "ASC"
    rows = db.rows(
        f"""SELECT id FROM pairs LEFT JOIN (
            SELECT item_id, count(*) AS taken FROM leases
            WHERE bench = 'review' AND until > ? AND user_name <> ? GROUP BY 1
        ) ON item_id = id
        WHERE {" AND ".join(tests)} ORDER BY {key}id {order} LIMIT ?""",
        [*values, query.limit],
    )
    return [row["id"] for row in rows]


def count_pairs(db: Database, portion: Portion) -> int:
    """How many kept pairs still want this person's decision, whoever holds them now."""
    mine, params = portion_clause(portion)
    return int(
        db.value(
            f"""SELECT count(*) FROM pairs WHERE {IS_ANSWER} AND {mine} AND status = 'pending'
            AND curation = 'kept' AND NOT is_disputed AND votes < ?
            AND id NOT IN (SELECT pair_id FROM review_votes WHERE user_name = ?)""",
            [*params, portion.overlap, portion.user],
        )
    )


def count_disputed(db: Database) -> int:
    """How many pairs wait for an adjudicator."""
    return int(db.value("SELECT count(*) FROM pairs WHERE is_disputed"))


def portion_clause(portion: Portion) -> tuple[str, list[str | int]]:
    """SQL condition on a pair (`topic`, `seed_id`) and its parameters."""
    tests: list[str] = ["true"]
    params: list[str | int] = []
    if portion.topics:
        tests.append(f"topic IN ({', '.join('?' for _ in portion.topics)})")
        params += portion.topics
    if portion.share_percent < 100:
        tests.append(f"({_BY_LOT} + 100 - ?) % 100 < ?")
        params += [portion.from_percent, portion.share_percent]
    return " AND ".join(tests), params


def portion_values(portion: Portion) -> tuple[str, dict[str, object]]:
    """As `portion_clause`, with named parameters."""
    tests, params = ["true"], dict[str, object]()
    if portion.topics:
        tests.append("topic IN (SELECT unnest($topics::VARCHAR[]))")
        params["topics"] = list(portion.topics)
    if portion.share_percent < 100:
        tests.append(f"({_BY_LOT} + 100 - $from_percent) % 100 < $share_percent")
        params |= {"from_percent": portion.from_percent, "share_percent": portion.share_percent}
    return " AND ".join(tests), params


def take(db: Database, bench: str, user: str, ids: Sequence[str], until: datetime) -> None:
    """Hand items to a person, or prolong what they hold."""
    if not ids:
        return
    with db.write(is_quiet=True):
        release(db, bench, user, ids)
        row = {"bench": bench, "user_name": user, "until": until}
        leases = [{**row, "item_id": i} for i in dict.fromkeys(ids)]
        db.insert("leases", leases, is_quiet=True)


def release(db: Database, bench: str, user: str, ids: Sequence[str] | None = None) -> None:
    """Give items back; all of this person on the bench when none are named."""
    if ids is None:
        _delete(db, "bench = ? AND user_name = ?", [bench, user])
    else:
        named = "bench = ? AND user_name = ? AND item_id IN (SELECT unnest(?::VARCHAR[]))"
        _delete(db, named, [bench, user, list(ids)])


def release_all(db: Database, user: str) -> None:
    """Give everything back that this person holds."""
    _delete(db, "user_name = ?", [user])


def forget_old(db: Database, now: datetime) -> None:
    """Remove leases whose time is over."""
    _delete(db, "until <= ?", [now])


def held_by_others(
    db: Database, bench: str, user: str, ids: Sequence[str], now: datetime
) -> dict[str, int]:
    """How many others hold each of these items now; only those that somebody holds."""
    rows = db.rows(
        """SELECT item_id, count(*) AS n FROM leases WHERE bench = ? AND user_name <> ?
        AND until > ? AND item_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY 1""",
        [bench, user, now, list(ids)],
    )
    return {row["item_id"]: row["n"] for row in rows}


def not_held_by_others(bench: str, user: str, now: datetime) -> tuple[str, list[object]]:
    """SQL condition on an `id` and its parameters: no lease of somebody else is live at `now`."""
    held = "SELECT item_id FROM leases WHERE bench = ? AND user_name <> ? AND until > ?"
    return f"id NOT IN ({held})", [bench, user, now]


def pairs_open_for(db: Database, user: str, ids: Sequence[str], overlap: int) -> dict[str, int]:
    """Of these pairs, the votes of those that still want this person's."""
    voted = ""
    params: list[object] = [overlap, list(ids)]
    if overlap > 1:  # with one vote a record, an undecided one has none
        voted = "AND id NOT IN (SELECT pair_id FROM review_votes WHERE user_name = ?)"
        params.append(user)
    rows = db.rows(
        f"""SELECT id, votes FROM pairs WHERE status = 'pending' AND NOT is_disputed AND votes < ?
        AND id IN (SELECT unnest(?::VARCHAR[])) {voted}""",
        params,
    )
    return {row["id"]: row["votes"] for row in rows}


def _delete(db: Database, where: str, params: Params) -> None:
    with db.write(is_quiet=True) as cursor:
        cursor.execute(f"DELETE FROM leases WHERE {where}", params).fetchall()
