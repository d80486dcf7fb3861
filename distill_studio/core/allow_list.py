"""Who may come in of those whom somebody else vouches for (Hugging Face, a proxy), with which role.

Entries are `name` or `org:name`, by role, from the settings. Names of Hugging Face and of the proxy
are ASCII and their case does not count, so small letters compare them safely.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from distill_studio.core.actor import Role
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.account import Outside, RoleName
from distill_studio.core.settings import Settings
from distill_studio.core.space import Space

ORG = "org:"
ADMIN = "admin"
_ENTRY = re.compile(r"^(org:)?[A-Za-z0-9][A-Za-z0-9._@+-]{0,98}$", re.ASCII)


@dataclass(frozen=True)
class AllowList:
    """The list. Keys are in small letters.

    Args:
        users: Roles by user name.
        groups: Roles by organisation or group, for all of its members.
        author: Whose Space it is: an owner; where that is an organisation, its admins are.
    """

    users: Mapping[str, Role] = field(default_factory=dict)
    groups: Mapping[str, Role] = field(default_factory=dict)
    author: str = ""

    @classmethod
    def of(cls, settings: Settings, space: Space | None) -> "AllowList":
        """The list that the settings and the Space make.

        Raises:
            InvalidInput: An entry is neither `name` nor `org:name`.
        """
        users: dict[str, Role] = {}
        groups: dict[str, Role] = {}
        for role in Role:  # from the lowest, so that the highest holds
            variable = f"{role.name.lower()}s"
            for entry in _entries(variable, getattr(settings, variable)):
                is_org = entry.startswith(ORG)
                (groups if is_org else users)[entry.removeprefix(ORG)] = role
        return cls(users, groups, space.author.lower() if space else "")

    @property
    def is_empty(self) -> bool:
        """True when it lets nobody in."""
        return not (self.users or self.groups or self.author)

    @property
    def owners(self) -> list[str]:
        """Owners by name, the Space's author first; organisations as `org:name`."""
        named = [name for name, role in self.users.items() if role == Role.OWNER]
        orgs = [ORG + name for name, role in self.groups.items() if role == Role.OWNER]
        return list(dict.fromkeys([*filter(None, [self.author]), *named, *orgs]))

    @property
    def entries(self) -> dict[str, RoleName]:
        """Roles by entry, as the settings have them."""
        found = {**self.users, **{ORG + name: role for name, role in self.groups.items()}}
        return {entry: role.name.lower() for entry, role in found.items()}  # type: ignore[misc]

    def role_of(self, login: str, groups: Mapping[str, str]) -> Role | None:
        """The highest role of a person; None for who is not on the list.

        Args:
            login: Their name.
            groups: What they belong to, each with their role in it ('' where it is not told).
        """
        login = login.lower()
        found = [self.users[login]] if login in self.users else []
        for group, role in groups.items():
            if group.lower() in self.groups:
                found.append(self.groups[group.lower()])
            if self.author and group.lower() == self.author and role == ADMIN:
                found.append(Role.OWNER)
        if self.author and login == self.author:
            found.append(Role.OWNER)
        return max(found, default=None)


def outside_of(settings: Settings, space: Space | None) -> Outside | None:
    """Who vouches for people besides the passwords of this studio.

    Raises:
        InvalidInput: A proxy is trusted half, or in a Space, whose proxy passes on what visitors
            send.
    """
    if bool(settings.proxy_header) != bool(settings.proxy_addresses):
        raise InvalidInput(
            "DISTILL_STUDIO_PROXY_HEADER and DISTILL_STUDIO_PROXY_ADDRESSES go together.",
            "Set both, or neither.",
        )
    if space is None:
        return "proxy" if settings.proxy_header else None
    if settings.proxy_header:
        raise InvalidInput(
            "On a Space no header is trusted: its proxy passes on what visitors send.",
            "Unset DISTILL_STUDIO_PROXY_HEADER; people sign in with Hugging Face there.",
        )
    return "huggingface" if space.oauth else None


def _entries(variable: str, text: str) -> Iterator[str]:
    for entry in re.split(r"[,;\s]+", text.strip()):
        if not entry:
            continue
        if not _ENTRY.fullmatch(entry):
            raise InvalidInput(
                f"DISTILL_STUDIO_{variable.upper()}: '{entry[:60]}' names nobody.",
                "Write user names and org:names, with commas between them.",
            )
        yield entry.lower()
