"""Rows of the accounts' file as records: names, keys, and the role that the list adds."""

import json
import re
import unicodedata
from datetime import UTC, datetime

from distill_studio.core.actor import Role
from distill_studio.core.allow_list import AllowList
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.account import PREFIXES, Account, Outside, RoleName
from distill_studio.store.accounts import Row

_NAME = re.compile(r"^\w(?:[\w .@+-]{0,38}[\w+])?$")
# Names that come from elsewhere are ASCII, so that no two of them look or compare alike.
_LOGIN = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9 ._@+-]{0,97}[A-Za-z0-9_+-])?$", re.ASCII)


def clean_name(name: str) -> str:
    """The name of an account with a password, in one spelling.

    Raises:
        InvalidInput: It will not do.
    """
    cleaned = " ".join(unicodedata.normalize("NFC", name).split())
    if not _NAME.fullmatch(cleaned):
        raise InvalidInput(
            f"'{name[:60]}' cannot name an account.",
            "Use up to 40 letters, digits, spaces and . _ - @ +, beginning with a letter or digit.",
        )
    return cleaned


def outside_name(via: Outside, login: str) -> str:
    """The name under which a person acts whom somebody else vouches for, as `hf:ann`.

    Raises:
        InvalidInput: That cannot be a name there.
    """
    if not _LOGIN.fullmatch(login):
        raise InvalidInput(
            f"'{login[:60]}' cannot be such a name.", "Write the name as it stands there."
        )
    return PREFIXES[via] + login


def key_of(name: str) -> str:
    """What a name is compared by."""
    return " ".join(unicodedata.normalize("NFC", name).split()).casefold()


def listed_role(row: Row, listed: AllowList) -> Role | None:
    """The role that the list gives, by what was told at the last log-in."""
    if row["via"] == "password":
        return None
    return listed.role_of(row["login"], json.loads(row["groups"]))


def account_of(row: Row, listed: AllowList) -> Account:
    """The record of a row: of its own role and the list's the higher one holds."""

    def when(column: str) -> datetime | None:
        return datetime.fromtimestamp(row[column], UTC) if row[column] else None

    by_list = listed_role(row, listed)
    own = Role[row["role"].upper()] if row["role"] else None
    highest = max(filter(None, (own, by_list)), default=None)
    role: RoleName | None = highest.name.lower() if highest else None  # type: ignore[assignment]
    return Account(
        name=row["name"],
        role=role,
        via=row["via"],
        is_listed=by_list is not None,
        is_disabled=bool(row["is_disabled"]),
        has_password=bool(row["password_hash"]),
        invited_until=when("invited_until") if row["invitation_hash"] else None,
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        created_by=row["created_by"],
        seen_at=when("seen_at"),
    )
