"""Notes and tags of reviewers, and the reject reasons a workspace offers.

Notes are decisions of kind `note`, so the browser's outbox keeps them and undo takes them back;
`pair_notes` holds those in force and follows in the transaction that stores the decision.
"""

from collections.abc import Iterable, Sequence

from distill_studio.core.records import Decision, DecisionKind
from distill_studio.store.database import Database, Row
from distill_studio.store.undoing import TAKEN_BACK_OF_TOUCHED

_IN_FORCE = f"""{TAKEN_BACK_OF_TOUCHED},
newest AS (
    SELECT d.* FROM d ANTI JOIN taken_back USING (user_name, id)
    WHERE d.kind = 'note' AND d.user_name = $user
    QUALIFY row_number() OVER (PARTITION BY d.pair_id ORDER BY d.seq DESC) = 1
)
INSERT INTO pair_notes (pair_id, user_name, note, tags, made_at)
SELECT pair_id, user_name, note, coalesce(tags, []), made_at FROM newest
WHERE note <> '' OR len(coalesce(tags, [])) > 0
"""


def bring_in_line(db: Database, user: str, decisions: Iterable[Decision]) -> None:
    """Make `pair_notes` say what this user's decisions say, for the pairs of these decisions."""
    kinds = (DecisionKind.NOTE, DecisionKind.UNDO)
    bring_pairs_in_line(db, user, (d.pair_id for d in decisions if d.kind in kinds))


def bring_pairs_in_line(db: Database, user: str, pair_ids: Iterable[str]) -> None:
    """Make `pair_notes` say of these pairs what this user's decisions say."""
    touched = list(dict.fromkeys(pair_ids))
    if not touched:
        return
    with db.write() as cursor:
        cursor.execute(
            "DELETE FROM pair_notes"
            " WHERE user_name = ? AND pair_id IN (SELECT unnest(?::VARCHAR[]))",
            [user, touched],
        ).fetchall()
        cursor.execute(_IN_FORCE, {"pairs": touched, "user": user}).fetchall()


def of_pairs(db: Database, user: str, pair_ids: Sequence[str]) -> dict[str, Row]:
    """Pair id -> this user's `note` and `tags`; pairs without any are left out."""
    rows = db.rows(
        "SELECT pair_id, note, tags FROM pair_notes"
        " WHERE user_name = ? AND pair_id IN (SELECT unnest(?::VARCHAR[]))",
        [user, list(pair_ids)],
    )
    return {row["pair_id"]: row for row in rows}


def tags(db: Database, limit: int = 200, user: str = "") -> list[str]:
    """The tags in use, of one person or for '' of all, most frequent first."""
    rows = db.rows(
        "SELECT tag FROM (SELECT unnest(tags) AS tag FROM pair_notes WHERE ? IN ('', user_name))"
        " GROUP BY tag ORDER BY count(*) DESC, tag LIMIT ?",
        [user, limit],
    )
    return [row["tag"] for row in rows]


def used_reasons(db: Database, limit: int = 9) -> list[str]:
    """Reject reasons given so far, most frequent first."""
    rows = db.rows(
        "SELECT reject_reason FROM pairs WHERE reject_reason <> ''"
        " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT ?",
        [limit],
    )
    return [row["reject_reason"] for row in rows]


def chosen_reasons(db: Database) -> list[str]:
    """The reasons that somebody set for this workspace, in order; empty: the standard ones."""
    return [row["reason"] for row in db.rows("SELECT reason FROM reject_reasons ORDER BY position")]


def set_reasons(db: Database, reasons: Sequence[str]) -> None:
    """Offer these reasons from now on; none brings the standard ones back."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM reject_reasons").fetchall()
        db.insert(
            "reject_reasons", [{"position": n, "reason": one} for n, one in enumerate(reasons)]
        )
