"""Users: who may log in, with which role. Accounts belong to the studio, not to a workspace: in
whichever workspace these operations are called, they do the same.
"""

from datetime import datetime

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput
from distill_studio.core.records import Record
from distill_studio.core.records.account import Account, Outside, RoleName, Via
from distill_studio.services.accounts import Accounts
from distill_studio.services.base import Service


class Me(Record):
    """The acting user."""

    name: str = Field(description="Name that decisions are stored under.")
    role: str = Field(description="viewer, reviewer or owner.")
    has_account: bool = Field(description="False for this machine's user and the password's.")
    has_password: bool = Field(description="True when I can change my password here.")


class InvitationLink(Record):
    """A link that works once."""

    name: str = Field(description="Whose account it opens.")
    path: str = Field(description="Where the app answers it: put the app's address before.")
    until: datetime = Field(description="Works until then, UTC.")


class WaysIn(Record):
    """What lets people in besides the accounts."""

    has_password: bool = Field(description="True when the studio has a password of its own.")
    needs_owner: bool = Field(description="True while the next account has to be an owner's.")
    outside: Outside | None = Field(description="Who vouches for people; none where nobody does.")
    author: str = Field(description="Whose Space it is, an owner; '' elsewhere.")
    listed: dict[str, RoleName] = Field(
        description="Names and org:names of the settings' list, with their roles."
    )


class UserAdded(Record):
    """A new account."""

    account: Account = Field(description="As it is now.")
    invitation: InvitationLink | None = Field(
        default=None, description="For the person, when no password was set."
    )


class UsersService(Service):
    """Users: who may log in."""

    word = "users"

    def me(self, actor: Actor) -> Me:
        """Who I am here."""
        actor.require(Role.VIEWER)
        mine = self._accounts.find(actor.user)
        return Me(
            name=actor.user,
            role=actor.role.name.lower(),
            has_account=mine is not None,
            has_password=mine is not None and mine.has_password,
        )

    def page(self, actor: Actor) -> list[Account]:
        """All accounts, by name."""
        actor.require(Role.OWNER)
        return self._accounts.page()

    def ways(self, actor: Actor) -> WaysIn:
        """What lets people in besides the accounts: who vouches, and the list in the settings."""
        actor.require(Role.OWNER)
        accounts = self._accounts
        return WaysIn(
            has_password=self.workspace.studio.settings.has_password,
            needs_owner=not self._has_way_in,
            outside=accounts.outside,
            author=accounts.listed.author,
            listed=accounts.listed.entries,
        )

    def add(
        self,
        actor: Actor,
        name: str,
        role: RoleName = "reviewer",
        password: str = "",
        via: Via = "password",
    ) -> UserAdded:
        """Make an account; without a password comes an invitation link to set one.

        Args:
            actor: An owner.
            name: Of the account; for one through Hugging Face or the proxy, their name there.
            role: What they may do.
            password: Empty: they set it themselves.
            via: What proves that it is them; with `huggingface` or `proxy` no link is needed.

        Raises:
            InvalidInput: A name or password that will not do.
            Conflict: The name is taken, or an owner has to come first.
        """
        actor.require(Role.OWNER)
        if role != "owner" and not self._has_way_in:
            raise Conflict(
                "Make an owner's account first.",
                "Once people log in, somebody has to look after them, and this studio has no"
                " password of its own.",
            )
        account = self._accounts.add(name, role, actor.user, password, via)
        needs_link = via == "password" and not password
        return UserAdded(
            account=account, invitation=self._invite(account.name) if needs_link else None
        )

    def let_go(self, actor: Actor, name: str) -> Account:
        """Forget which person of Hugging Face used a name, so that its new bearer may come in.

        Raises:
            InvalidInput: An account with a password.
        """
        actor.require(Role.OWNER)
        return self._accounts.let_go(name)

    def invite(self, actor: Actor, name: str) -> InvitationLink:
        """A new one-time link to set a password; the one before it lapses."""
        actor.require(Role.OWNER)
        return self._invite(name)

    def set_password(self, actor: Actor, name: str, password: str) -> Account:
        """Set somebody's password; they are logged out everywhere."""
        actor.require(Role.OWNER)
        return self._accounts.set_password(name, password)

    def change_password(self, actor: Actor, current: str, new: str) -> Account:
        """Change my own password; I am logged out everywhere.

        Raises:
            InvalidInput: The current one is not right, or the new one will not do.
        """
        actor.require(Role.VIEWER)
        if self._accounts.check_password(actor.user, current) is None:
            raise InvalidInput("The current password is not right.")
        return self._accounts.set_password(actor.user, new)

    def set_role(self, actor: Actor, name: str, role: RoleName) -> Account:
        """Change what somebody may do, from their next request on."""
        actor.require(Role.OWNER)
        if role != "owner":
            self._keep_an_owner(name)
        return self._accounts.set_role(name, role)

    def disable(self, actor: Actor, name: str) -> Account:
        """Shut somebody out; their decisions stay, what was handed to them is free again."""
        actor.require(Role.OWNER)
        self._keep_an_owner(name)
        account = self._accounts.set_disabled(name, True)
        self.workspace.studio.release_leases(account.name)
        return account

    def enable(self, actor: Actor, name: str) -> Account:
        """Let somebody in again, with the password they had."""
        actor.require(Role.OWNER)
        return self._accounts.set_disabled(name, False)

    @property
    def _accounts(self) -> Accounts:
        return self.workspace.studio.accounts

    @property
    def _has_way_in(self) -> bool:
        """True when an owner can get in whatever accounts there are."""
        has_password = self.workspace.studio.settings.has_password
        has_listed = self._accounts.outside is not None and bool(self._accounts.listed.owners)
        return has_password or has_listed or any(a.role == "owner" for a in self._accounts.page())

    def _invite(self, name: str) -> InvitationLink:
        made = self._accounts.invite(name)
        return InvitationLink(name=name, path=f"/join?code={made.code}", until=made.until)

    def _keep_an_owner(self, name: str) -> None:
        has_password = self.workspace.studio.settings.has_password
        if not has_password and self._accounts.is_last_owner(name):
            raise Conflict(
                f"{name} is the last owner who can log in.", "Make another account an owner first."
            )
