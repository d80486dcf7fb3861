"""Numbered SQL migrations, applied in order, once, in a transaction each.

Before a file that already holds data is migrated, it is copied beside itself
(`studio.duckdb.before-NNNN`) and the copy is opened once to see that it is whole.
"""

import re
import shutil
from importlib import resources
from pathlib import Path

import duckdb

from distill_studio.core.errors import Conflict

_NAME = re.compile(r"^(\d{4})_\w+\.sql$")


def migrations() -> list[tuple[int, str]]:
    """(number, SQL text) of every migration, in order."""
    folder = resources.files("distill_studio.store") / "migrations"
    found = [(m, f) for f in folder.iterdir() if (m := _NAME.match(f.name))]
    return sorted((int(m.group(1)), f.read_text(encoding="utf-8")) for m, f in found)


def migrate(path: Path) -> None:
    """Bring the file at `path` to the newest schema; make it when missing."""
    is_new = not path.exists()
    try:
        connection = duckdb.connect(str(path))
    except duckdb.IOException as err:
        raise Conflict(
            f"The data file {path} cannot be opened: {err}",
            "Close the other app or command that uses this data folder.",
        ) from err
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (number INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ DEFAULT now())"
        )
        rows = connection.execute("SELECT number FROM schema_migrations").fetchall()
        done = {row[0] for row in rows}
        pending = [(number, sql) for number, sql in migrations() if number not in done]
        if pending and not is_new and done:
            connection.execute("CHECKPOINT")
            connection.close()
            _back_up(path, pending[0][0])
            connection = duckdb.connect(str(path))
        for number, sql in pending:
            connection.execute("BEGIN TRANSACTION")
            connection.execute(sql)
            connection.execute("INSERT INTO schema_migrations (number) VALUES (?)", [number])
            connection.execute("COMMIT")
    finally:
        connection.close()


def _back_up(path: Path, number: int) -> None:
    copy = path.with_name(f"{path.name}.before-{number:04d}")
    shutil.copy2(path, copy)
    duckdb.connect(str(copy), read_only=True).close()
