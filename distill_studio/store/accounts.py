"""Accounts and sessions of the whole studio, in `<home>/people.sqlite`.

Not in a workspace's file: a person has one account for all workspaces. SQLite, because these are a
few small rows that must be on disk at once. The process that holds the data folder's lock owns the
file. Passwords, invitation codes and session tokens are here only as hashes.
"""

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_VERSIONS = (
    """
    CREATE TABLE accounts (
        key TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        role TEXT NOT NULL,
        password_hash TEXT NOT NULL DEFAULT '',
        is_disabled INTEGER NOT NULL DEFAULT 0,
        invitation_hash TEXT NOT NULL DEFAULT '',
        invited_until REAL,
        created_at REAL NOT NULL,
        created_by TEXT NOT NULL DEFAULT '',
        seen_at REAL
    );
    CREATE TABLE sessions (
        token_hash TEXT PRIMARY KEY,
        user_name TEXT NOT NULL,
        account_key TEXT,
        seal TEXT NOT NULL DEFAULT '',
        created_at REAL NOT NULL,
        seen_at REAL NOT NULL
    );
    """,
    # via: who vouches; login, subject, groups: as that one last told (groups: JSON, name to role)
    """
    ALTER TABLE accounts ADD COLUMN via TEXT NOT NULL DEFAULT 'password';
    ALTER TABLE accounts ADD COLUMN login TEXT NOT NULL DEFAULT '';
    ALTER TABLE accounts ADD COLUMN subject TEXT NOT NULL DEFAULT '';
    ALTER TABLE accounts ADD COLUMN groups TEXT NOT NULL DEFAULT '{}';
    """,
)
_CHANGEABLE = {
    "role", "password_hash", "is_disabled", "invitation_hash", "invited_until", "seen_at",
    "login", "subject", "groups",
}  # fmt: skip


class AccountStore:
    """The open file. Times are epoch seconds, hashes are text made by the caller.

    Args:
        path: Made when missing, readable by this user alone.
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        for number, script in enumerate(_VERSIONS[version:], version + 1):
            self._connection.executescript(
                f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;"
            )

    def accounts(self) -> list[Row]:
        """All accounts, in order of their names."""
        return self._rows("SELECT * FROM accounts ORDER BY key")

    def account(self, key: str) -> Row | None:
        """One account by its key (the name in small letters)."""
        return next(iter(self._rows("SELECT * FROM accounts WHERE key = ?", [key])), None)

    def account_invited(self, invitation_hash: str) -> Row | None:
        """The account that an invitation was made for."""
        sql = "SELECT * FROM accounts WHERE invitation_hash = ? AND invitation_hash <> ''"
        return next(iter(self._rows(sql, [invitation_hash])), None)

    def accounts_of(self, via: str, subject: str) -> list[Row]:
        """Accounts that one person of another service has used, under whatever names."""
        sql = "SELECT * FROM accounts WHERE via = ? AND subject = ? AND subject <> ''"
        return self._rows(sql, [via, subject])

    def add(self, row: Row) -> bool:
        """Make an account of these columns; False when there is one of that key."""
        assert set(row) <= _CHANGEABLE | {"key", "name", "via", "created_at", "created_by"}
        marks = ", ".join("?" * len(row))
        changed = self._run(
            f"INSERT INTO accounts ({', '.join(row)}) VALUES ({marks}) ON CONFLICT DO NOTHING",
            list(row.values()),
        )
        return changed > 0

    def change(self, key: str, **values: str | float | None) -> None:
        """Set columns of an account."""
        assert set(values) <= _CHANGEABLE
        columns = ", ".join(f"{column} = ?" for column in values)
        self._run(f"UPDATE accounts SET {columns} WHERE key = ?", [*values.values(), key])

    def add_session(
        self, token_hash: str, user: str, account_key: str | None, seal: str, now: float
    ) -> None:
        """Open a session; without an account it is one of the studio's password."""
        self._run(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
            [token_hash, user, account_key, seal, now, now],
        )

    def session(self, token_hash: str) -> Row | None:
        """One session."""
        sql = "SELECT * FROM sessions WHERE token_hash = ?"
        return next(iter(self._rows(sql, [token_hash])), None)

    def touch_session(self, token_hash: str, now: float) -> None:
        """Note that a session was used."""
        self._run("UPDATE sessions SET seen_at = ? WHERE token_hash = ?", [now, token_hash])

    def end_sessions(
        self, *, token_hash: str = "", account_key: str = "", seen_before: float = 0.0
    ) -> None:
        """End a session, all of an account, and those not used since a time."""
        self._run(
            "DELETE FROM sessions WHERE token_hash = ? OR account_key = ? OR seen_at < ?",
            [token_hash, account_key, seen_before],
        )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _rows(self, sql: str, params: list[Any] | None = None) -> list[Row]:
        with self._lock:
            return [dict(row) for row in self._connection.execute(sql, params or [])]

    def _run(self, sql: str, params: list[Any]) -> int:
        with self._lock:
            return self._connection.execute(sql, params).rowcount
