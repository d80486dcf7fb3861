"""Comparisons and the votes on them, as given. What follows from a vote lies in `preferences`."""

import json
from collections.abc import Sequence

from distill_studio.core.records.comparison import Answer, Comparison, Verdict
from distill_studio.core.records.seed import Message
from distill_studio.store.database import Database, Row

_COLUMNS = """c.id, c.messages, c.answers, c.sampling, c.is_blind, c.set_id, c.set_number,
c.user_name, c.created_at, v.id AS vote_id, v.winner, v.made_at AS voted_at"""
_FROM = """comparisons c LEFT JOIN comparison_votes_in_force v
ON v.comparison_id = c.id AND v.user_name = ?"""
_NOBODY = ""  # a reader without votes


def insert(db: Database, comparison: Comparison) -> None:
    """Store a comparison; one with the same id, or of the same place in a set, stays as it is."""
    row: Row = {
        "id": comparison.id,
        "messages": json.dumps([m.model_dump() for m in comparison.messages], ensure_ascii=False),
        "prompt": comparison.prompt,
        "answers": json.dumps(
            [a.model_dump(mode="json") for a in comparison.answers], ensure_ascii=False
        ),
        "sampling": json.dumps(comparison.sampling),
        "is_blind": comparison.is_blind,
        "set_id": comparison.set_id or None,
        "set_number": comparison.set_number,
        "user_name": comparison.user,
        "created_at": comparison.created_at,
    }
    db.insert("comparisons", [row], or_ignore=True)


def get(db: Database, comparison_id: str, reader: str) -> Comparison | None:
    """One comparison with the reader's own vote."""
    row = db.row(f"SELECT {_COLUMNS} FROM {_FROM} WHERE c.id = ?", [reader, comparison_id])
    return _from_row(row, reader) if row else None


def page(
    db: Database, reader: str, *, before: str = "", limit: int = 20, set_id: str = ""
) -> list[Comparison]:
    """Newest first, before the id `before`; with `set_id` that set alone, in its order."""
    if set_id:
        where, order, params = "c.set_id = ?", "c.set_number", [set_id]
    else:
        where, order, params = "c.set_id IS NULL", "c.id DESC", []
    if before:
        where += " AND c.id < ?"
        params.append(before)
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE {where} ORDER BY {order} LIMIT ?",
        [reader, *params, limit],
    )
    return [_from_row(row, reader) for row in rows]


def page_by_vote(
    db: Database, is_voted: bool, *, before: str = "", limit: int = 20
) -> list[Comparison]:
    """Comparisons that somebody has voted on, or nobody, newest first; without any verdict.

    Those of sets too; `before` is the id that came last.
    """
    rows = db.rows(
        f"""SELECT {_COLUMNS} FROM {_FROM} WHERE (? = '' OR c.id < ?)
        AND (c.id IN (SELECT comparison_id FROM comparison_votes)) = ?
        ORDER BY c.id DESC LIMIT ?""",
        [_NOBODY, before, before, is_voted, limit],
    )
    return [_from_row(row, _NOBODY) for row in rows]


def get_many(db: Database, ids: Sequence[str]) -> list[Comparison]:
    """These comparisons, oldest first; without any verdict."""
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE c.id IN (SELECT unnest(?::VARCHAR[])) ORDER BY c.id",
        [_NOBODY, list(ids)],
    )
    return [_from_row(row, _NOBODY) for row in rows]


def numbers_of_set(db: Database, set_id: str) -> set[int]:
    """Which prompts of a set are answered."""
    rows = db.rows("SELECT set_number FROM comparisons WHERE set_id = ?", [set_id])
    return {row["set_number"] for row in rows}


def winners_of(db: Database, comparison_id: str, user: str) -> list[str]:
    """What this person has said of a comparison, oldest first."""
    rows = db.rows(
        """SELECT winner FROM comparison_votes
        WHERE comparison_id = ? AND user_name = ? ORDER BY seq""",
        [comparison_id, user],
    )
    return [row["winner"] for row in rows]


def add_vote(db: Database, comparison_id: str, verdict: Verdict) -> bool:
    """Store a vote; False when this (user, id) is stored already."""
    with db.write():
        known = db.value(
            "SELECT 1 FROM comparison_votes WHERE user_name = ? AND id = ?",
            [verdict.user, verdict.vote_id],
        )
        if known:
            return False
        db.insert(
            "comparison_votes",
            [
                {
                    "user_name": verdict.user,
                    "id": verdict.vote_id,
                    "comparison_id": comparison_id,
                    "winner": verdict.winner,
                    "made_at": verdict.made_at,
                }
            ],
        )
        return True


def _from_row(row: Row, reader: str) -> Comparison:
    verdict = None
    if row["winner"] is not None:
        verdict = Verdict(
            winner=row["winner"], user=reader, vote_id=row["vote_id"], made_at=row["voted_at"]
        )
    return Comparison(
        id=row["id"],
        messages=tuple(Message(**m) for m in json.loads(row["messages"])),
        answers=tuple(Answer(**a) for a in json.loads(row["answers"])),
        sampling=json.loads(row["sampling"]),
        is_blind=row["is_blind"],
        set_id=row["set_id"] or "",
        set_number=row["set_number"],
        user=row["user_name"],
        created_at=row["created_at"],
        verdict=verdict,
    )
