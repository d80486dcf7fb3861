"""Servers that the app started. Options come and go as JSON text."""

from typing import Any

from distill_studio.store.database import Database, Row

_UPDATABLE = {"was_ready", "stopped_at"}


def save(db: Database, row: Row) -> None:
    """Insert a server, or replace the one of the same name."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM servers WHERE name = ?", [row["name"]]).fetchall()
        db.insert("servers", [row])


def update(db: Database, name: str, **fields: Any) -> None:  # noqa: ANN401
    """Change `was_ready` or `stopped_at`."""
    unknown = set(fields) - _UPDATABLE
    if unknown:
        raise ValueError(f"columns that may not change: {sorted(unknown)}")
    sets = ", ".join(f"{column} = ?" for column in fields)
    with db.write() as cursor:
        cursor.execute(
            f"UPDATE servers SET {sets} WHERE name = ?", [*fields.values(), name]
        ).fetchall()


def everyone(db: Database) -> list[Row]:
    """All servers, newest first."""
    return db.rows("SELECT * FROM servers ORDER BY created_at DESC, name")


def get(db: Database, name: str) -> Row | None:
    """The server of that name, or None."""
    return db.row("SELECT * FROM servers WHERE name = ?", [name])


def delete(db: Database, name: str) -> None:
    """Forget a server."""
    with db.write() as cursor:
        cursor.execute("DELETE FROM servers WHERE name = ?", [name]).fetchall()
