"""Who acts. Every public service method takes an `Actor` first and checks its role."""

from enum import IntEnum

from pydantic import BaseModel, ConfigDict, Field

from distill_studio.core.errors import NotAllowed


class Role(IntEnum):
    """What a person may do; each role includes the ones below it."""

    VIEWER = 1
    REVIEWER = 2
    OWNER = 3


class Actor(BaseModel):
    """The acting user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = Field(min_length=1, max_length=200, description="User name, the key of decisions.")
    role: Role = Field(description="Highest role held.")

    def require(self, role: Role) -> None:
        """Raise `NotAllowed` unless this user holds `role`."""
        if self.role < role:
            raise NotAllowed(
                f"{self.user} may not do this: it needs the role {role.name.lower()}.",
                "Ask an owner of this studio.",
            )
