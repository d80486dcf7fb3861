"""What people said, as rows that can be kept elsewhere and put back: for backups.

`gather` takes what is new since the last time, with the rows it speaks of (pairs, seeds,
comparisons), so that a part makes sense without the rest of the file; `replay` puts such rows into
a store, once each by their keys, and brings what follows from them in line.

Appended tables are read by their order number: numbers are drawn under the writer's lock, so what
is committed later has a greater one. The small tables that people rewrite are taken whole when they
changed.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from distill_studio.store import decisions, notes, preferences
from distill_studio.store.database import Database, Row

# Table -> its order number, its sequence ('' where the number is no sequence's), its key.
APPENDED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "decisions": ("seq", "decision_order", ("user_name", "id")),
    "votes": ("seq", "vote_order", ("user_name", "id")),
    "comparison_votes": ("seq", "comparison_vote_order", ("user_name", "id")),
    "leak_verdicts": ("seq", "leak_verdict_order", ("user_name", "id")),
    "labelling_settings": ("seq", "labelling_order", ("seq",)),
    "guidelines": ("version", "", ("version",)),
}
# Small tables that people rewrite; their keys.
REWRITTEN: dict[str, tuple[str, ...]] = {
    "near_verdicts": ("a_id", "b_id"),
    "reject_reasons": ("position",),
    "run_notes": ("id",),
}
# What is spoken of, by `id`, in the order in which it is put back.
SPOKEN_OF = ("seeds", "pairs", "comparisons", "comparison_tasks", "recipe_texts")
_ORDER = (*SPOKEN_OF, *REWRITTEN, *APPENDED)
_NOT_KEPT = {"pairs": ("search_bits",)}  # made again when wanted
PART_SCHEMA = pa.schema([
    ("table_name", pa.string()), ("position", pa.int64()), ("row", pa.string()),
])  # fmt: skip


@dataclass(frozen=True)
class Known:
    """What a backup has of a store."""

    marks: dict[str, int] = field(default_factory=dict)  # appended table -> greatest number
    states: dict[str, str] = field(default_factory=dict)  # rewritten table -> digest
    spoken_of: frozenset[tuple[str, str]] = frozenset()  # (table, id) since `since`
    since: datetime | None = None  # what was made before is in a whole copy


@dataclass(frozen=True)
class Gathered:
    """New rows, and what the backup knows once it has them."""

    rows: pa.Table
    known: Known

    @property
    def is_empty(self) -> bool:
        """True when there is nothing new."""
        return bool(self.rows.num_rows == 0)


def marks_of(db: Database) -> dict[str, int]:
    """The greatest number of each appended table."""
    return {table: _greatest(db, table) for table in APPENDED}


def made_since(db: Database, since: datetime) -> frozenset[tuple[str, str]]:
    """(table, id) of what can be spoken of and was made since a time."""
    return frozenset(
        (table, row["id"])
        for table in SPOKEN_OF
        for row in db.rows(f"SELECT id FROM {table} WHERE created_at >= ?", [since])
    )


def gather(db: Database, known: Known) -> Gathered:
    """The rows that a backup which has `known` lacks."""
    with db.write(is_quiet=True):  # nobody writes meanwhile: one state of all tables
        found, marks = [], dict(known.marks)
        for table, (number, _, _) in APPENDED.items():
            rows = _rows(db, table, f"{number} > ?", [known.marks.get(table, 0)], number)
            found.append(rows)
            if rows.num_rows:
                marks[table] = max(rows["position"].to_pylist())
        states = dict(known.states)
        for table in REWRITTEN:
            rows = _whole(db, table)
            digest = _digest(rows)
            if digest != states.get(table, _digest(rows.slice(0, 0))):
                # a row that names the table alone says that what is not there is gone
                found += [_marker(table), rows]
            states[table] = digest
        fresh = _spoken_of(db, known)
        found += [
            _rows(db, table, "id IN (SELECT unnest(?::VARCHAR[]))", [sorted(ids)])
            for table, ids in fresh.items()
        ]
    spoken = known.spoken_of | {(table, i) for table, ids in fresh.items() for i in ids}
    return Gathered(
        pa.concat_tables(found).combine_chunks(), Known(marks, states, spoken, known.since)
    )


def replay(db: Database, rows: pa.Table) -> dict[str, int]:
    """Put rows of `gather` into a store, once each, in one transaction.

    Returns:
        How many rows were new, by table.
    """
    added: dict[str, int] = {}
    with db.write():
        touched = _touched(rows)
        for table in _ORDER:
            part = rows.filter(pc.equal(rows["table_name"], table))
            if not part.num_rows:
                continue
            if table in REWRITTEN:
                _replace(db, table, part)
            else:
                added[table] = _add_missing(db, table, part)
        for table, (number, sequence, _) in APPENDED.items():
            if sequence and added.get(table):
                _advance(db, sequence, _greatest(db, table), number)
        _bring_in_line(db, touched)
    return added


def counts(db: Database) -> dict[str, int]:
    """Rows of every table that people fill, and of seeds and pairs."""
    tables = (*APPENDED, *REWRITTEN, "seeds", "pairs")
    return {t: int(db.value(f"SELECT count(*) FROM {t}")) for t in tables}


# -- reading --------------------------------------------------------------------------------


def _rows(
    db: Database, table: str, where: str, params: list[object], number: str = "0"
) -> pa.Table:
    left_out = f"EXCLUDE ({', '.join(_NOT_KEPT[table])})" if table in _NOT_KEPT else ""
    return db.arrow(
        f"""SELECT '{table}' AS table_name, ({number})::BIGINT AS position,
        to_json(kept)::VARCHAR AS row
        FROM (SELECT * {left_out} FROM {table} WHERE {where}) kept ORDER BY 2, 3""",
        params,
    ).cast(PART_SCHEMA)


def _whole(db: Database, table: str) -> pa.Table:
    return _rows(db, table, "true", [])


def _marker(table: str) -> pa.Table:
    return pa.table({"table_name": [table], "position": [0], "row": [""]}, schema=PART_SCHEMA)


def _digest(rows: pa.Table) -> str:
    text = "\n".join(rows["row"].to_pylist())
    return hashlib.sha256(text.encode()).hexdigest()


def _greatest(db: Database, table: str) -> int:
    return int(db.value(f"SELECT coalesce(max({APPENDED[table][0]}), 0) FROM {table}"))


def _spoken_of(db: Database, known: Known) -> dict[str, set[str]]:
    """Ids by table of what people see or spoke of, made since the last whole copy, not kept yet."""
    since = known.since or datetime.fromtimestamp(0).astimezone()
    have: dict[str, set[str]] = {table: set() for table in SPOKEN_OF}
    for table, row_id in known.spoken_of:
        have[table].add(row_id)
    fresh: dict[str, set[str]] = {}
    for table in ("comparisons", "comparison_tasks", "recipe_texts"):
        made = db.rows(f"SELECT id FROM {table} WHERE created_at >= ?", [since])
        fresh[table] = {row["id"] for row in made} - have[table]
    rows = db.rows(
        """WITH spoken AS (
            SELECT pair_id AS id FROM decisions WHERE seq > $mark
            UNION SELECT item_id FROM leases WHERE bench = 'review'
            UNION SELECT a_id FROM near_verdicts UNION SELECT b_id FROM near_verdicts
            UNION SELECT unnest(pair_ids || [left_pair_id, right_pair_id]) FROM comparison_tasks
            WHERE created_at >= $since
        )
        SELECT id, seed_id FROM pairs SEMI JOIN spoken USING (id) WHERE created_at >= $since""",
        {"mark": known.marks.get("decisions", 0), "since": since},
    )
    fresh["pairs"] = {row["id"] for row in rows} - have["pairs"]
    of_pairs = {row["seed_id"] for row in rows if row["id"] in fresh["pairs"]}
    tasks = db.rows(
        "SELECT DISTINCT seed_id FROM comparison_tasks WHERE id IN (SELECT unnest(?::VARCHAR[]))",
        [sorted(fresh["comparison_tasks"])],
    )
    wanted = sorted((of_pairs | {row["seed_id"] for row in tasks}) - have["seeds"])
    seeds = db.rows(
        "SELECT id FROM seeds WHERE created_at >= ? AND id IN (SELECT unnest(?::VARCHAR[]))",
        [since, wanted],
    )
    fresh["seeds"] = {row["id"] for row in seeds}
    return {table: ids for table, ids in fresh.items() if ids}


# -- putting back ---------------------------------------------------------------------------


def _typed(db: Database, table: str, part: pa.Table) -> tuple[list[str], str]:
    """The columns that the rows have and the table knows, and the query of their values."""
    types = {
        row["column_name"]: row["data_type"]
        for row in db.rows(
            """SELECT column_name, data_type FROM duckdb_columns()
            WHERE table_name = ? AND database_name = current_database()""",
            [table],
        )
    }
    named = json.loads(part["row"][0].as_py())
    columns = [name for name in types if name in named]
    shape = json.dumps({name: types[name] for name in columns}).replace("'", "''")
    return columns, f"SELECT unnest(from_json(row, '{shape}')) FROM incoming_part ORDER BY position"


def _add_missing(db: Database, table: str, part: pa.Table) -> int:
    key = APPENDED[table][2] if table in APPENDED else ("id",)
    columns, values = _typed(db, table, part)
    names = ", ".join(columns)
    before = int(db.value(f"SELECT count(*) FROM {table}"))
    cursor = db.cursor()
    cursor.register("incoming_part", part)
    try:
        cursor.execute(
            f"INSERT OR IGNORE INTO {table} ({names}) SELECT {names} FROM ({values})"
            f" ANTI JOIN (SELECT {', '.join(key)} FROM {table}) USING ({', '.join(key)})"
        ).fetchall()
    finally:
        cursor.unregister("incoming_part")
    return int(db.value(f"SELECT count(*) FROM {table}")) - before


def _replace(db: Database, table: str, part: pa.Table) -> None:
    """Make a small table equal to its rows in a part."""
    cursor = db.cursor()
    cursor.execute(f"DELETE FROM {table}").fetchall()
    part = part.filter(pc.not_equal(part["row"], ""))
    if part.num_rows:
        columns, values = _typed(db, table, part)
        names = ", ".join(columns)
        cursor.register("incoming_part", part)
        try:
            cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM ({values})")
        finally:
            cursor.unregister("incoming_part")


def _advance(db: Database, sequence: str, to: int, number: str) -> None:
    """Draw from a sequence until it is past what was put back: the next row is newer."""
    drawn = int(db.value(f"SELECT nextval('{sequence}') AS {number}"))
    if drawn < to:
        db.value(f"SELECT max(nextval('{sequence}')) FROM range(?)", [to - drawn])


def _touched(rows: pa.Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {"decisions": [], "votes": []}
    kept = pc.is_in(rows["table_name"], pa.array(list(found)))
    for row in rows.filter(kept).to_pylist():
        found[row["table_name"]].append(json.loads(row["row"]))
    return found


def _bring_in_line(db: Database, touched: dict[str, list[Row]]) -> None:
    """Pairs, notes and preferences follow from decisions and votes."""
    decisions.bring_in_line(db, (row["pair_id"] for row in touched["decisions"]))
    by_user: dict[str, list[str]] = {}
    for row in touched["decisions"]:
        if row["kind"] in ("note", "undo"):
            by_user.setdefault(row["user_name"], []).append(row["pair_id"])
    for user, pair_ids in by_user.items():
        notes.bring_pairs_in_line(db, user, pair_ids)
    preferences.fill_blindness(db)  # a backup of an older version does not say it
    tasks: dict[str, list[str]] = {}
    for row in touched["votes"]:
        tasks.setdefault(row["user_name"], []).append(row["task_id"])
    for user, task_ids in tasks.items():
        preferences.bring_in_line(db, user, task_ids)
    decisions.rebuild(db)  # the number of votes that a record asks for may have changed
