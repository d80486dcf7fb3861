"""What the decisions about one pair say: the view `decisions_in_force` for a few pairs, in Python.

Planning the SQL over any number of pairs costs about five times as much as reading the few
decisions of one pair and writing its row (21 and 4 ms of processor time at 300,000 pairs), and a
person decides one at a time. `decisions.out_of_step` compares both. Start from `bring_few_in_line`.
"""

from collections import Counter
from collections.abc import Sequence

from distill_studio.store.database import Database, Row

FEW = 8  # pairs; from about there on one statement for all is cheaper
_DECIDES = ("accept", "edit", "reject")


def bring_few_in_line(db: Database, pair_ids: Sequence[str]) -> None:
    """Set the decision columns of these pairs to what their decisions say; inside a write."""
    rows = decisions_on(db, pair_ids)
    overlap = int(db.value("SELECT overlap FROM labelling_overlap"))
    with db.write() as cursor:
        for pair_id in pair_ids:
            said = state([row for row in rows if row["pair_id"] == pair_id], overlap)
            columns = ", ".join(f"{column} = ?" for column in said)
            cursor.execute(
                f"UPDATE pairs SET {columns} WHERE id = ?", [*said.values(), pair_id]
            ).fetchall()


def state(decisions: Sequence[Row], overlap: int) -> Row:
    """The decision columns of a pair.

    Args:
        decisions: All of this pair, by `seq`, undos included.
        overlap: Votes that a record needs.
    """
    taken_back = _taken_back(decisions)
    standing = [
        d
        for d in decisions
        if d["kind"] in _DECIDES and (d["user_name"], d["id"]) not in taken_back
    ]
    final = [d for d in standing if d["is_final"]]
    votes = list({d["user_name"]: d for d in standing if not d["is_final"]}.values())
    noes = sum(d["kind"] == "reject" for d in votes)
    holds = _holding(standing if overlap == 1 else final, votes, noes, overlap)
    kind = holds["kind"] if holds else ""
    return {
        "status": {"": "pending", "reject": "rejected"}.get(kind, "accepted"),
        "edited_answer": holds["answer"] if holds and kind == "edit" else None,
        "reject_reason": holds["reason"] if holds and kind == "reject" else "",
        "decided_by": holds["user_name"] if holds else "",
        "decided_at": holds["made_at"] if holds else None,
        "votes": len(votes),
        "is_disputed": overlap > 1
        and len(votes) >= overlap
        and 2 * noes == len(votes)
        and not final,
    }


def state_before(decisions: Sequence[Row], user: str, seq: int, overlap: int) -> Row:
    """As `state`, once this user has taken back what they decided from `seq` on, newest first."""
    return state(
        [d for d in decisions if d["user_name"] != user or d["kind"] == "undo" or d["seq"] < seq],
        overlap,
    )


def decisions_on(db: Database, pair_ids: Sequence[str]) -> list[Row]:
    """Everything that `state` needs to know of these pairs, by `seq`."""
    marks = ", ".join("?" for _ in pair_ids)  # a list in SQL: the index finds them, a join scans
    return db.rows(
        f"""SELECT seq, user_name, id, pair_id, kind, answer, reason, undoes, made_at,
        coalesce(is_final, false) AS is_final
        FROM decisions WHERE pair_id IN ({marks}) ORDER BY seq""",
        list(pair_ids),
    )


def _holding(settling: Sequence[Row], votes: Sequence[Row], noes: int, overlap: int) -> Row | None:
    """The decision that holds: the newest that settles, else the majority's; None while open."""
    if settling:
        return settling[-1]
    if overlap == 1 or len(votes) < overlap or 2 * noes == len(votes):
        return None
    winners = [d for d in votes if (d["kind"] == "reject") == (2 * noes > len(votes))]
    backing = Counter(_text(d) for d in winners)
    return max(winners, key=lambda d: (backing[_text(d)], d["seq"]))


def _text(decision: Row) -> str | None:
    """The text that a vote leaves; None for the teacher's."""
    return decision["answer"] if decision["kind"] == "edit" else None


def _taken_back(decisions: Sequence[Row]) -> set[tuple[str, str]]:
    """(user, id) of the decisions that the newest undo in the chain over them takes back."""
    found = {(d["user_name"], d["id"]): d for d in decisions}
    links: dict[tuple[str, str], tuple[tuple[str, str], int]] = {}  # undo -> root, depth
    is_back: dict[tuple[str, str], bool] = {}
    for d in decisions:
        over = (d["user_name"], d["undoes"])
        if d["kind"] != "undo" or over not in found:
            continue
        root, depth = links.get(over, (over, 0))
        if found[root]["kind"] == "undo":  # its own target is not of this pair
            continue
        links[d["user_name"], d["id"]] = (root, depth + 1)
        is_back[root] = depth % 2 == 0
    return {root for root, back in is_back.items() if back}
