"""What a person did and may take back, and what they took back and may do again.

An undo is a decision that names another one; it may itself be undone, so undo and redo survive
restarts and leave their trace. A chain of undos of odd length takes its root back.
"""

from collections.abc import Sequence

from distill_studio.store import standing
from distill_studio.store.database import Database, Row

# `touched`, `d` (their decisions) and `taken_back` for a query over the pairs $pairs: the view
# `decisions_taken_back`, read from the decisions of the touched pairs only: an undo names
# the pair of what it undoes, so a pair's decisions are complete in themselves.
TAKEN_BACK_OF_TOUCHED = """WITH RECURSIVE
touched AS MATERIALIZED (SELECT DISTINCT unnest($pairs::VARCHAR[]) AS pair_id),
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
)"""


def recent(db: Database, user: str, limit: int) -> list[Row]:
    """What this user could undo, newest first: `id`, `pair_id`, `kind`, `bulk_id`, `count`.

    A bulk is one row, with its number of decisions as `count`. `after` are the decision columns of
    the pair once this row and those above it are undone.
    """
    rows = db.rows(
        """WITH mine AS (
            SELECT d.seq, d.id, d.pair_id, d.kind, coalesce(d.bulk_id, '') AS bulk_id
            FROM decisions d ANTI JOIN decisions_taken_back t USING (user_name, id)
            WHERE d.user_name = ? AND d.kind <> 'undo'
        )
        SELECT arg_max(id, seq) AS id, arg_max(pair_id, seq) AS pair_id,
               arg_max(kind, seq) AS kind, bulk_id, count(*) AS count, max(seq) AS seq
        FROM mine GROUP BY bulk_id, CASE bulk_id WHEN '' THEN id ELSE '' END
        ORDER BY max(seq) DESC LIMIT ?""",
        [user, limit],
    )
    said = _decisions_by_pair(db, [row["pair_id"] for row in rows])
    overlap = int(db.value("SELECT overlap FROM labelling_overlap"))
    return [
        {**row, "after": standing.state_before(said[row["pair_id"]], user, row["seq"], overlap)}
        for row in rows
    ]


def _decisions_by_pair(db: Database, pair_ids: Sequence[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {pair_id: [] for pair_id in pair_ids}
    for row in standing.decisions_on(db, list(found)) if found else []:
        found[row["pair_id"]].append(row)
    return found


def redoable(db: Database, user: str, limit: int) -> list[Row]:
    """What this user undid last and may do again, next first.

    Each row has `id` (of the undo that an undo would take back), `pair_id`, `kind`, and of a bulk,
    which is one row, `bulk_id` and `count`.

    Whatever is decided anew ends what could be redone, as in an editor.
    """
    return db.rows(
        """WITH RECURSIVE mine AS (
            SELECT seq, id, pair_id, kind, undoes, coalesce(bulk_id, '') AS bulk_id
            FROM decisions WHERE user_name = $user
        ),
        since AS (SELECT coalesce(max(seq), 0) AS seq FROM mine WHERE kind <> 'undo'),
        chain AS (
            SELECT t.id AS root, t.pair_id, t.kind, u.bulk_id, u.id, u.seq, 1 AS depth
            FROM mine u JOIN mine t ON t.id = u.undoes
            WHERE u.kind = 'undo' AND t.kind <> 'undo'
            UNION ALL
            SELECT c.root, c.pair_id, c.kind, u.bulk_id, u.id, u.seq, c.depth + 1
            FROM mine u JOIN chain c ON u.undoes = c.id WHERE u.kind = 'undo'
        ),
        undone AS (
            SELECT arg_max(id, seq) AS id, pair_id, kind, arg_max(bulk_id, seq) AS bulk_id,
                   max(seq) AS seq
            FROM chain GROUP BY root, pair_id, kind
            HAVING arg_max(depth, seq) % 2 = 1 AND max(seq) > (SELECT seq FROM since)
        )
        SELECT arg_max(id, seq) AS id, arg_max(pair_id, seq) AS pair_id,
               arg_max(kind, seq) AS kind, bulk_id, count(*) AS count
        FROM undone GROUP BY bulk_id, CASE bulk_id WHEN '' THEN id ELSE '' END
        ORDER BY max(seq) DESC LIMIT $limit""",
        {"user": user, "limit": limit},
    )
