"""Notes of people about runs."""

from distill_studio.core.records import RunNote
from distill_studio.store.database import Database, Row

_COLUMNS = 'id, run_id, user_name AS "user", note AS text, in_card, made_at'


def insert(db: Database, made: RunNote) -> None:
    """Store a new note."""
    row = made.model_dump(exclude={"user", "text"})
    db.insert("run_notes", [row | {"user_name": made.user, "note": made.text}])


def of_run(db: Database, run_id: str) -> list[RunNote]:
    """Of one run, oldest first."""
    rows = db.rows(f"SELECT {_COLUMNS} FROM run_notes WHERE run_id = ? ORDER BY id", [run_id])
    return [_from_row(row) for row in rows]


def get(db: Database, note_id: str) -> RunNote | None:
    """The note of that id."""
    row = db.row(f"SELECT {_COLUMNS} FROM run_notes WHERE id = ?", [note_id])
    return _from_row(row) if row else None


def newest(db: Database) -> dict[str, str]:
    """Name of each run that has notes -> the newest of them."""
    rows = db.rows(
        "SELECT runs.name, note FROM run_notes JOIN runs ON runs.id = run_id"
        " QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY run_notes.id DESC) = 1"
    )
    return {row["name"]: row["note"] for row in rows}


def delete(db: Database, note_id: str) -> None:
    """Forget one note."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM run_notes WHERE id = ?", [note_id]).fetchall()


def _from_row(row: Row) -> RunNote:
    return RunNote(**row)
