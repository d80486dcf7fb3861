"""What a row came from and where it went, read from the tables and from snapshots' files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from distill_studio.store.database import Database, Row


def decisions_of(db: Database, pair_id: str) -> list[Row]:
    """`user`, `kind`, `made_at` of every decision about a pair, oldest first."""
    return db.rows(
        """SELECT user_name AS "user", kind, made_at FROM decisions WHERE pair_id = ?
        ORDER BY seq""",
        [pair_id],
    )


def preferences_of(db: Database, pair_id: str) -> list[Row]:
    """`id`, `source`, `user`, `outcome`, `is_chosen` of the preferences that a pair is part of."""
    rows = []
    for column, is_chosen in (("chosen_pair_id", True), ("rejected_pair_id", False)):
        # one column at a time: an OR of two is no range, and every row would be read
        rows += db.rows(
            f"""SELECT id, source, user_name AS "user", outcome, {is_chosen} AS is_chosen
            FROM preferences WHERE {column} = ?""",
            [pair_id],
        )
    return sorted(rows, key=lambda row: str(row["id"]))


def facts_of_rows(db: Database, files: Sequence[Path], *, are_preferences: bool) -> Row:
    """Of the rows in a snapshot's files: how many by `recipes`, `sources`, `teachers`, `people`.

    People are those whose decision is in force for the answer that is learnt, or who voted.
    """
    listed = [str(file) for file in files]
    ids = "SELECT id FROM read_parquet(?)"
    learnt, votes = ids, []
    if are_preferences:
        learnt = f"SELECT chosen_pair_id FROM preferences WHERE id IN ({ids})"
        votes = db.rows(
            f"""SELECT user_name AS people, count(*) AS n FROM preferences WHERE id IN ({ids})
            GROUP BY 1""",
            [listed],
        )
    # pairs and files are read once: few different values, so few groups
    groups = db.rows(
        f"""SELECT recipe AS recipes, source AS sources, teacher AS teachers, decided_by AS people,
        count(*) AS n FROM pairs WHERE id IN ({learnt}) GROUP BY ALL""",
        [listed],
    )
    columns = ("recipes", "sources", "teachers")
    counts = {name: _counted(groups, name) for name in columns}
    return {**counts, "people": _counted(votes if are_preferences else groups, "people")}


def _counted(groups: Sequence[Row], name: str) -> dict[str, int]:
    """Value -> rows, the most frequent first; rows without a value are left out."""
    found: Counter[str] = Counter()
    for group in groups:
        found[group[name]] += group["n"]
    known = [(value, n) for value, n in found.items() if value]
    return dict(sorted(known, key=lambda one: (-one[1], one[0])))
