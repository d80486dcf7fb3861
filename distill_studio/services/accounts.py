"""Who may log in: accounts, passwords, invitations and sessions of the whole studio.

`UsersService` is what owners and commands call; the web asks `check_password` and `session_user`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from distill_studio.core.actor import Actor, Role
from distill_studio.core.allow_list import AllowList
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.records.account import PREFIXES, Account, Outside, RoleName, Via
from distill_studio.services.account_rows import (
    account_of,
    clean_name,
    key_of,
    listed_role,
    outside_name,
)
from distill_studio.services.outsiders import Outsider, admit
from distill_studio.store.accounts import AccountStore, Row

ACCOUNTS_FILE = "people.sqlite"  # in the data folder
SESSION_IDLE_S = 12 * 3600.0
SESSION_LONGEST_S = 7 * 24 * 3600.0
OUTSIDE_LONGEST_S = 24 * 3600.0  # then whoever vouches is asked again (who left an organisation?)
INVITATION_S = 7 * 24 * 3600.0
SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 1000
_TOUCH_AFTER_S = 300.0


@dataclass(frozen=True)
class Invitation:
    """A one-time code with which the person sets their own password."""

    code: str
    until: datetime


_KEPT = (  # in a backup
    "name", "role", "password_hash", "is_disabled", "created_at", "created_by", "via", "login",
    "subject", "groups",
)  # fmt: skip


class Accounts:
    """The studio's accounts.

    Args:
        path: Of the file that keeps them.
        clock: Epoch seconds.
        listed: Who may come in besides those with an account here.
        outside: Who vouches for people besides the passwords here; None: nobody.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        *,
        listed: AllowList | None = None,
        outside: Outside | None = None,
    ) -> None:
        self._store = AccountStore(path)
        self._clock = clock
        self.listed = listed or AllowList()
        self.outside = outside
        self._hasher = PasswordHasher()
        self._look()

    # -- accounts -----------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """True while nobody has an account."""
        return not self._owners and not self._others

    @property
    def has_owner(self) -> bool:
        """True when an owner with an account can get in."""
        return any(self._may_enter(account) for account in self._owners)

    @property
    def has_password(self) -> bool:
        """True when somebody has, or is invited to set, a password."""
        return any(a.via == "password" and not a.is_disabled for a in self._owners + self._others)

    @property
    def has_list(self) -> bool:
        """True when the list lets somebody in for whom another vouches."""
        return self.outside is not None and not self.listed.is_empty

    def page(self) -> list[Account]:
        """All accounts, by name."""
        return [self._account(row) for row in self._store.accounts()]

    def names(self, at_least: Role) -> list[str]:
        """Names of those who may log in and hold the role."""
        found = [*self._owners, *self._others]
        return sorted(a.name for a in found if a.rank >= at_least and not a.is_disabled)

    def get(self, name: str) -> Account:
        """One account.

        Raises:
            NotFound: Nobody has it.
        """
        return self._account(self._row(name))

    def add(
        self, name: str, role: RoleName, by: str, password: str = "", via: Via = "password"
    ) -> Account:
        """Make an account: with a password, to be invited, or for whom another vouches.

        Raises:
            InvalidInput: A name or password that will not do.
            Conflict: The name is taken, whatever its case.
        """
        if via == "password":
            name = clean_name(name)
        else:  # an owner may write either `ann` or `hf:ann`
            name = outside_name(via, name.strip().removeprefix(PREFIXES[via]))
        if via != "password" and password:
            raise InvalidInput(f"{name} needs no password here.", "Leave it empty.")
        _check_role(role)
        made = {
            "key": key_of(name), "name": name, "role": role, "via": via,
            "login": "" if via == "password" else name.partition(":")[2],
            "password_hash": self._hash(name, password) if password else "",
            "created_at": self._clock(), "created_by": by,
        }  # fmt: skip
        if not self._store.add(made):
            raise Conflict(
                f"There is an account '{name}' already.",
                "Choose another name; accounts are disabled, not deleted.",
            )
        self._look()
        return self.get(name)

    def set_password(self, name: str, password: str) -> Account:
        """Give a new password; sessions end and invitations lapse."""
        row = self._row(name, needs_password=True)
        self._store.change(
            row["key"],
            password_hash=self._hash(row["name"], password),
            invitation_hash="",
            invited_until=None,
        )
        return self._changed(row["key"], ends_sessions=True)

    def set_role(self, name: str, role: RoleName) -> Account:
        """Change the role; it holds from the next request on.

        Raises:
            Conflict: The settings' list gives a higher one.
        """
        row = self._row(name)
        _check_role(role)
        by_list = listed_role(row, self.listed)
        if by_list is not None and by_list > Role[role.upper()]:
            raise Conflict(
                f"{row['name']} is {by_list.name.lower()} by the list in the settings.",
                "The higher role holds: change the list and start the app again.",
            )
        self._store.change(row["key"], role=role)
        return self._changed(row["key"])

    def set_disabled(self, name: str, is_disabled: bool) -> Account:
        """Shut a person out (their sessions end, their decisions stay), or let them in again."""
        row = self._row(name)
        self._store.change(row["key"], is_disabled=int(is_disabled))
        return self._changed(row["key"], ends_sessions=is_disabled)

    def is_last_owner(self, name: str) -> bool:
        """True when this is the only owner who can get in."""
        row = self._store.account(key_of(name))
        others = set(self.listed.owners) if self.outside else set()
        if row is not None and row["via"] != "password":
            others.discard(row["login"].lower())
        names = [a.name for a in self._owners if self._may_enter(a)]
        return not others and row is not None and names == [row["name"]]

    # -- invitations --------------------------------------------------------------------------

    def invite(self, name: str) -> Invitation:
        """A new one-time code; an older one lapses."""
        row = self._row(name, needs_password=True)
        code = secrets.token_urlsafe(24)
        until = self._clock() + INVITATION_S
        self._store.change(row["key"], invitation_hash=_digest(code), invited_until=until)
        return Invitation(code, datetime.fromtimestamp(until, UTC))

    def invited(self, code: str) -> Account | None:
        """The account that a code opens, while it holds."""
        row = self._store.account_invited(_digest(code))
        if row is None or row["is_disabled"] or (row["invited_until"] or 0) < self._clock():
            return None
        return self._account(row)

    def join(self, code: str, password: str) -> Account:
        """Use a code: set the password.

        Raises:
            NotFound: The code was used, has lapsed or never was.
            InvalidInput: The password will not do; the code stays.
        """
        account = self.invited(code)
        if account is None:
            raise NotFound("This invitation was used or has lapsed.", "Ask an owner for a new one.")
        return self.set_password(account.name, password)

    # -- log-in -------------------------------------------------------------------------------

    def admit(self, who: Outsider) -> Account:
        """The account of a person for whom another vouches, made when it is their first time.

        Raises:
            NotInvited: They may not come in.
        """
        now = self._clock()
        row, has_changed = admit(self._store, self.listed, who, now)
        if now - (row["seen_at"] or 0.0) > _TOUCH_AFTER_S:
            self._store.change(row["key"], seen_at=now)
        if has_changed:
            self._look()
        return self._account(row)

    def let_go(self, name: str) -> Account:
        """Forget who of the other side used a name, so that its next bearer may."""
        row = self._row(name)
        if row["via"] == "password":
            raise InvalidInput(f"{row['name']} has a password.", "Set another to pass it on.")
        self._store.change(row["key"], subject="", groups="{}")
        return self._changed(row["key"], ends_sessions=True)

    def find(self, name: str) -> Account | None:
        """The account of that name, when somebody has it."""
        row = self._store.account(key_of(name))
        return self._account(row) if row else None

    def check_password(self, name: str, password: str) -> Account | None:
        """The account when name and password are right; takes as long when they are not."""
        row = self._store.account(key_of(name))
        known = row["password_hash"] if row and not row["is_disabled"] else ""
        try:
            self._hasher.verify(known or self._nobodys_hash, password[:LONGEST_PASSWORD])
        except (VerificationError, InvalidHashError):
            return None
        if row is None or not known:
            return None
        if self._hasher.check_needs_rehash(known):
            self._store.change(row["key"], password_hash=self._hasher.hash(password))
        return self._account(row)

    def open_session(self, user: str, account: Account | None, seal: str = "") -> str:
        """A new session's token, for a cookie.

        Args:
            user: Who acts.
            account: None for a session of the studio's password.
            seal: What must be the same later; changes with the studio's password.
        """
        token, now = secrets.token_urlsafe(32), self._clock()
        self._store.end_sessions(seen_before=now - SESSION_IDLE_S)
        key = key_of(account.name) if account else None
        self._store.add_session(_digest(token), user, key, seal, now)
        if key:
            self._store.change(key, seen_at=now)
        return token

    def session_user(self, token: str, seal: str = "") -> Actor | None:
        """Who a session's token stands for; None when it ended, lapsed or was forged."""
        row = self._store.session(_digest(token)) if token else None
        now = self._clock()
        if row is None or now - row["seen_at"] > SESSION_IDLE_S:
            return None
        age = now - row["created_at"]
        if age > SESSION_LONGEST_S:
            return None
        if now - row["seen_at"] > _TOUCH_AFTER_S:
            self._touch(row, now)
        if row["account_key"] is None:
            is_right = bool(seal) and secrets.compare_digest(seal, row["seal"])
            return Actor(user=row["user_name"], role=Role.OWNER) if is_right else None
        found = self._store.account(row["account_key"])
        if found is None or found["is_disabled"]:
            return None
        account = self._account(found)
        if account.via != "password" and (account.via != self.outside or age > OUTSIDE_LONGEST_S):
            return None
        return Actor(user=account.name, role=Role(account.rank)) if account.rank else None

    def end_session(self, token: str) -> None:
        """Log out."""
        self._store.end_sessions(token_hash=_digest(token))

    # -- backups ------------------------------------------------------------------------------

    def exported(self) -> list[Row]:
        """What a backup keeps: names, roles, hashes of passwords; no session, no invitation."""
        return [{column: row[column] for column in _KEPT} for row in self._store.accounts()]

    def take_in(self, rows: list[Row]) -> None:
        """Put accounts of `exported` back, as far as nobody has their names."""
        nothing = {"invitation_hash": "", "invited_until": None, "seen_at": None}
        for row in rows:
            self._store.add(
                {column: row[column] for column in _KEPT} | nothing | {"key": key_of(row["name"])}
            )
        self._look()

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    # -- inside -------------------------------------------------------------------------------

    @cached_property
    def _nobodys_hash(self) -> str:
        """What an unknown name's password is checked against, so that the time tells nothing."""
        return self._hasher.hash(secrets.token_hex(16))

    def _touch(self, session: Row, now: float) -> None:
        self._store.touch_session(session["token_hash"], now)
        if session["account_key"]:
            self._store.change(session["account_key"], seen_at=now)

    def _account(self, row: Row) -> Account:
        return account_of(row, self.listed)

    def _may_enter(self, account: Account) -> bool:
        return account.has_password or (account.via == self.outside)

    def _row(self, name: str, *, needs_password: bool = False) -> Row:
        row = self._store.account(key_of(name))
        if row is None:
            raise NotFound(f"There is no account '{name}'.")
        if needs_password and row["via"] != "password":
            raise InvalidInput(
                f"{row['name']} has no password here.", "Tell them the address of the app."
            )
        return row

    def _changed(self, key: str, *, ends_sessions: bool = False) -> Account:
        if ends_sessions:
            self._store.end_sessions(account_key=key)
        self._look()
        return self.get(key)

    def _look(self) -> None:
        """Keep what every request asks in memory; this process alone writes the file."""
        found = self.page()
        self._owners = [a for a in found if a.rank >= Role.OWNER and not a.is_disabled]
        self._others = [a for a in found if a not in self._owners]

    def _hash(self, name: str, password: str) -> str:
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise InvalidInput(
                f"A password has {SHORTEST_PASSWORD} characters or more.",
                "Four or five words in a row are easy to keep in mind.",
            )
        if name.casefold() in password.casefold() and len(password) < len(name) + 6:
            raise InvalidInput("This password is little more than the name.", "Choose another.")
        return self._hasher.hash(password)


def _check_role(role: str) -> None:
    if role not in get_args(RoleName):
        raise InvalidInput(f"'{role}' is no role.", "Choose viewer, reviewer or owner.")


def _digest(secret: str) -> str:
    """Of a long random secret, so a quick hash will do."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
