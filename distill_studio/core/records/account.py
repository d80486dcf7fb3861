"""People who may log in. Their names are the keys of decisions, so accounts are never deleted."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from distill_studio.core.actor import Role
from distill_studio.core.records.base import Record

RoleName = Literal["viewer", "reviewer", "owner"]
Via = Literal["password", "huggingface", "proxy"]
Outside = Literal["huggingface", "proxy"]  # who vouches for a person besides this studio
# No account with a password has a colon in its name, so nobody takes on another's name.
PREFIXES: dict[Outside, str] = {"huggingface": "hf:", "proxy": "proxy:"}


class Account(Record):
    """One person's account, without anything secret."""

    name: str = Field(description="Log-in name, and the user of this person's decisions.")
    role: RoleName | None = Field(
        description="viewer, reviewer or owner; none when the list that let them in does no more."
    )
    via: Via = Field(default="password", description="What proves that it is them.")
    is_listed: bool = Field(default=False, description="True: the settings' list lets them in.")
    is_disabled: bool = Field(default=False, description="True: may not log in.")
    has_password: bool = Field(default=False, description="False until the invitation is used.")
    invited_until: datetime | None = Field(
        default=None, description="An unused invitation holds until then, UTC."
    )
    created_at: datetime = Field(description="UTC.")
    created_by: str = Field(default="", description="The owner who made it.")
    seen_at: datetime | None = Field(default=None, description="Last log-in or request, UTC.")

    @property
    def rank(self) -> int:
        """The role as it is compared; 0 for none."""
        return Role[self.role.upper()] if self.role else 0
