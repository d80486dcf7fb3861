"""Letting in a person for whom somebody else vouches: Hugging Face, or a proxy.

A name can change hands there. So the first who comes in under a name is kept with the id that the
other side never gives twice; a second person of that name is refused until an owner lets go of it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from distill_studio.core.allow_list import AllowList
from distill_studio.core.errors import InvalidInput, NotAllowed
from distill_studio.core.records.account import Outside
from distill_studio.services.account_rows import account_of, key_of, outside_name
from distill_studio.store.accounts import AccountStore, Row


@dataclass(frozen=True)
class Outsider:
    """What the other side says of a person.

    Args:
        via: Who vouches.
        login: Their name there.
        subject: Their id there, which never becomes another's.
        groups: What they belong to, each with their role in it ('' where it is not told).
    """

    via: Outside
    login: str
    subject: str
    groups: Mapping[str, str] = field(default_factory=dict)


class NotInvited(NotAllowed):
    """Somebody who is who they say and may not come in."""

    code = "not_invited"


def admit(store: AccountStore, listed: AllowList, who: Outsider, now: float) -> tuple[Row, bool]:
    """The account's row of a person who may come in, and whether it is new or has changed.

    Raises:
        NotInvited: Neither on the list nor invited, shut out, or under a name that was another's.
    """
    try:
        name = outside_name(who.via, who.login)
    except InvalidInput as err:
        raise NotInvited("This name cannot be used here.") from err
    key = key_of(name)
    row = store.account(key)
    if row is not None and row["subject"] not in ("", who.subject):
        raise NotInvited(
            f"The name {who.login} was another person's when it was last used here.",
            "If it is yours now, an owner can let go of it.",
        )
    others = [one for one in store.accounts_of(who.via, who.subject) if one["key"] != key]
    if any(one["is_disabled"] for one in [*others, *([row] if row else [])]):
        raise NotInvited("You may not come in here any more.")
    told = {
        "login": who.login,
        "subject": who.subject,
        "groups": json.dumps(dict(who.groups), sort_keys=True),
    }
    row = row or {
        "key": key, "name": name, "role": "", "via": who.via, "password_hash": "",
        "is_disabled": 0, "invitation_hash": "", "invited_until": None, "created_at": now,
        "created_by": "", "seen_at": None,
    }  # fmt: skip
    if not account_of(row | told, listed).rank:
        raise NotInvited("You are not on the list of this studio.")
    is_new = store.add(row | told)
    has_changed = any(row.get(column) != value for column, value in told.items())
    if has_changed and not is_new:
        store.change(key, **told)
    return row | told, is_new or has_changed
