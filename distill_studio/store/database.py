"""The open DuckDB file of one workspace.

`Database.read()` gives a cursor of the calling thread; `Database.write()` gives one inside a
transaction. Writers take turns (one lock), so short transactions never conflict. Only the web
process (or a command that holds its lock) may open the file: a second process cannot.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from distill_studio.core.errors import Conflict
from distill_studio.store.migrate import migrate

Params = Sequence[Any] | Mapping[str, Any]
Row = dict[str, Any]
_ARROW_FROM_ROWS = 64  # below this, executemany is quicker than building an Arrow table


class Database:
    """One connection, a cursor per thread, one writer at a time.

    Args:
        path: The `studio.duckdb` file; made and migrated when missing or old.

    Raises:
        Conflict: Another process holds the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        migrate(path)
        self.path = path
        try:
            self._connection = duckdb.connect(str(path))
        except duckdb.IOException as err:
            raise Conflict(
                f"The data file {path} is held by another process.",
                "Close the other app or command that uses this data folder.",
            ) from err
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET preserve_insertion_order = true")
        self._local = threading.local()
        self._write_lock = threading.RLock()
        self.version = 0  # grows with every committed write: what was read at one version holds

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """This thread's cursor. Results of the previous statement on it are discarded."""
        cursor = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._connection.cursor()
            self._local.cursor = cursor
        return cursor

    def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """Run a query and return its rows as dicts; timestamps are aware, in UTC."""
        result = self.cursor().execute(sql, params)
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def row(self, sql: str, params: Params = ()) -> Row | None:
        """The first row, or None."""
        rows = self.rows(sql, params)
        return rows[0] if rows else None

    def value(self, sql: str, params: Params = ()) -> Any:  # noqa: ANN401  (any SQL value)
        """The first column of the first row, or None."""
        row = self.row(sql, params)
        return next(iter(row.values())) if row else None

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """This thread's cursor in a transaction: committed on leaving, rolled back on an error.

        Nested calls join the outer transaction. Use `rows`, `row` and `value` inside as well:
        they run on the same cursor and see what was just written.
        """
        with self._write_lock:
            cursor = self.cursor()
            if getattr(self._local, "is_writing", False):
                yield cursor
                return
            cursor.execute("BEGIN TRANSACTION")
            self._local.is_writing = True
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            else:
                cursor.execute("COMMIT")
                self.version += 1
            finally:
                self._local.is_writing = False

    def insert(self, table: str, rows: Sequence[Row], *, or_ignore: bool = False) -> None:
        """Insert rows that all have the same columns. `table` and columns come from our code."""
        if not rows:
            return
        columns = list(rows[0])
        names = ", ".join(columns)
        target = f"{'INSERT OR IGNORE' if or_ignore else 'INSERT'} INTO {table} ({names})"
        with self.write() as cursor:
            if len(rows) < _ARROW_FROM_ROWS:
                marks = ", ".join("?" for _ in columns)
                cursor.executemany(
                    f"{target} VALUES ({marks})", [[row[c] for c in columns] for row in rows]
                )
                return
            arrow = pa.Table.from_pylist(list(rows), schema=None)
            cursor.register("incoming_rows", arrow)
            try:
                cursor.execute(f"{target} SELECT {names} FROM incoming_rows").fetchall()
            finally:
                cursor.unregister("incoming_rows")

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file."""
        with self._write_lock:
            self.cursor().execute("CHECKPOINT")

    def close(self) -> None:
        """Close the file; the object is unusable afterwards."""
        with self._write_lock:
            self._connection.close()
