"""The open DuckDB file of one workspace.

`Database.read()` gives a cursor of the calling thread; `Database.write()` gives one inside a
transaction. Writers take turns (one lock), so short transactions never conflict. Only the web
process (or a command that holds its lock) may open the file: a second process cannot.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from distill_studio.core.errors import Conflict
from distill_studio.store.memory import default_memory_mib
from distill_studio.store.migrate import migrate

STORE_FILE = "studio.duckdb"  # in a workspace's folder
Params = Sequence[Any] | Mapping[str, Any]
Row = dict[str, Any]
# DuckDB 2.0.0 forgets a LIMIT over a LEFT JOIN whose other side its statistics know to be empty
# (tests/store/test_database.py shows it), 2.0.1 too; without this rule it holds.
_DISABLED_OPTIMIZERS = "statistics_propagation"
_CLOSE_WITHIN_S = 5.0
_ARROW_FROM_ROWS = 64  # below this, executemany is quicker than building an Arrow table


class Database:
    """One connection, a cursor per thread, one writer at a time.

    Args:
        path: The `studio.duckdb` file; made and migrated when missing or old.
        memory_mib: What DuckDB may hold in memory, beyond which it works on disk; None takes
            `default_memory_mib`.

    Raises:
        Conflict: Another process holds the file.
    """

    def __init__(self, path: Path, memory_mib: int | None = None) -> None:
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
        limit = memory_mib or default_memory_mib()
        self._connection.execute(f"SET memory_limit = '{int(limit)}MiB'")
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET preserve_insertion_order = true")
        self._connection.execute(f"SET disabled_optimizers = '{_DISABLED_OPTIMIZERS}'")
        self._local = threading.local()
        self._write_lock = threading.RLock()
        # Grows with every committed write but quiet ones: what was read at one version holds.
        self.version = 0

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

    def arrow(self, sql: str, params: Params = (), **tables: pa.Table) -> pa.Table:
        """Run a query that may read these Arrow tables by their names; its result as Arrow."""
        cursor = self.cursor()
        try:
            for name, table in tables.items():
                cursor.register(name, table)
            return cursor.sql(sql, params=params or None).to_arrow_table()
        finally:
            for name in tables:
                cursor.unregister(name)

    @contextmanager
    def write(self, *, is_quiet: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """This thread's cursor in a transaction: committed on leaving, rolled back on an error.

        Nested calls join the outer transaction. Use `rows`, `row` and `value` inside as well:
        they run on the same cursor and see what was just written.

        Args:
            is_quiet: Nothing that anybody remembers by `version` depends on what is written, such
                as the progress of a job. A transaction is quiet when all of it is.
        """
        with self._write_lock:
            cursor = self.cursor()
            if getattr(self._local, "is_writing", False):
                self._local.is_quiet &= is_quiet
                yield cursor
                return
            cursor.execute("BEGIN TRANSACTION")
            self._local.is_writing, self._local.is_quiet = True, is_quiet
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            else:
                cursor.execute("COMMIT")
                self.version += not self._local.is_quiet
            finally:
                self._local.is_writing = False

    def insert(
        self, table: str, rows: Sequence[Row], *, or_ignore: bool = False, is_quiet: bool = False
    ) -> None:
        """Insert rows that all have the same columns. `table` and columns come from our code."""
        if not rows:
            return
        columns = list(rows[0])
        names = ", ".join(columns)
        target = f"{'INSERT OR IGNORE' if or_ignore else 'INSERT'} INTO {table} ({names})"
        with self.write(is_quiet=is_quiet) as cursor:
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

    def copy_to(self, target: Path) -> None:
        """Copy the file as it stands; writers wait meanwhile.

        A process of its own does the copying: closing the file here, however it was opened, would
        take away the lock that DuckDB holds on it. Open the copy to see that it is whole.

        Raises:
            OSError: It could not be written (no space, no rights).
        """
        with self._write_lock:
            with contextlib.suppress(duckdb.TransactionException):  # then the log is copied as well
                self.checkpoint()
            _copy_elsewhere(self.path, target)
            log = self.path.with_name(f"{self.path.name}.wal")
            if log.exists():
                _copy_elsewhere(log, target.with_name(f"{target.name}.wal"))

    def close(self) -> None:
        """Close the file; the object is unusable afterwards.

        DuckDB refuses while another thread's statement runs: a job that is just leaving. Waits for
        its end, five seconds at most.
        """
        deadline = time.monotonic() + _CLOSE_WITHIN_S
        with self._write_lock:
            while True:
                try:
                    self._connection.close()
                except duckdb.ResourceInUseException:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                else:
                    return


def _copy_elsewhere(source: Path, target: Path) -> None:
    program = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or ["the copy failed"])[-1])
