"""Who is asking: this machine's user, a session after log-in, whom a trusted proxy names, or the
token of server.json.

On loopback without a password and without accounts everybody who reaches the port is the owner; the
guard then lets only this machine's own pages in (host and origin are checked, so no web page can
reach over). Otherwise a person logs in: with the name and password of an account, or with the
studio's password, which makes an owner (before there are accounts under any name, afterwards only
under the name `DISTILL_STUDIO_USER`, so that nobody takes on another's), or through Hugging Face.
Where a proxy lets people in, whom it names is who asks, whatever cookies say.
"""

import hmac
import os
import secrets
import time
from collections import defaultdict, deque
from pathlib import Path

from starlette.requests import HTTPConnection

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records.account import PREFIXES
from distill_studio.core.settings import Settings
from distill_studio.core.space import Space
from distill_studio.services.accounts import SESSION_LONGEST_S, Accounts
from distill_studio.services.outsiders import NotInvited, Outsider
from distill_studio.web.hub_sign_in import HubSignIn
from distill_studio.web.proxy import TrustedProxy

COOKIE = "distill_studio_session"
SESSION_S = int(SESSION_LONGEST_S)  # of the cookie; the session itself may end sooner
MAX_TRIES, TRIES_WINDOW_S = 5, 60.0  # from one address
MAX_NAME_TRIES, NAME_WINDOW_S = 20, 900.0  # at one name, from wherever
MAX_SIGN_INS, SIGN_INS_WINDOW_S = 20, 60.0  # ways back from Hugging Face that fail, by address
_MOST_REMEMBERED = 10_000
_MOST_ASKED = 3


class Identity:
    """Answers who a request comes from.

    Args:
        settings: Password, user name, host.
        token: What commands on this machine send as a bearer token.
        accounts: The studio's.
    """

    def __init__(self, settings: Settings, token: str, accounts: Accounts) -> None:
        self.settings = settings
        self.token = token
        self.accounts = accounts
        self._by_address = _Tries(MAX_TRIES, TRIES_WINDOW_S)
        self._by_name = _Tries(MAX_NAME_TRIES, NAME_WINDOW_S)
        self._password = settings.password.get_secret_value() if settings.password else ""
        # a changed password ends all of its sessions
        key = _secret(settings.home)
        self._seal = hmac.digest(key.encode(), self._password.encode(), "sha256").hex()
        self.space = Space.from_environment()
        client = self.space.oauth if self.space else None
        self.hub = HubSignIn(client, self.space.host, key) if self.space and client else None
        self._by_sign_in = _Tries(MAX_SIGN_INS, SIGN_INS_WINDOW_S)
        self.proxy = TrustedProxy(settings) if settings.proxy_header else None

    @property
    def has_login(self) -> bool:
        """True when people have to say who they are."""
        is_open = self.settings.is_loopback and not self._password and self.proxy is None
        return not is_open or self.accounts.has_owner

    @property
    def is_locked(self) -> bool:
        """True when strangers could reach the app and nobody could log in."""
        has_way_in = self.accounts.has_list or not self.accounts.is_empty
        return self.settings.is_locked and not has_way_in

    @property
    def has_passwords(self) -> bool:
        """True when a password could open the studio to somebody."""
        return bool(self._password) or self.accounts.has_password

    @property
    def whom_to_ask(self) -> list[str]:
        """Who could let somebody in: the contact of the settings, else owners on the list."""
        told = self.settings.contact.strip()
        return [told] if told else self.accounts.listed.owners[:_MOST_ASKED]

    def actor(self, request: HTTPConnection) -> Actor | None:
        """The acting user, or None for a stranger."""
        if self._has_token(request):
            return Actor(user=self.settings.user, role=Role.OWNER)
        if self.is_locked:
            return None
        if not self.has_login:
            return Actor(user=self.settings.user, role=Role.OWNER)
        named = self.proxy.person(request) if self.proxy else None
        if named is not None:
            return self._admitted(named)
        seal = self._seal if self._password else ""
        return self.accounts.session_user(request.cookies.get(COOKIE, ""), seal)

    def refused(self, request: HTTPConnection) -> NotInvited | None:
        """Why a person whom the proxy names may not come in; None where it names nobody."""
        named = self.proxy.person(request) if self.proxy else None
        if named is None:
            return None
        try:
            self.accounts.admit(named)
        except NotInvited as err:
            return err
        return None

    def log_in(self, address: str, user: str, password: str) -> str | None:
        """A session cookie's value when name and password are right, else None.

        Raises:
            PermissionError: Too many tries from this address or at this name.
        """
        name = user.strip()[:200]
        self._by_address.check(address)
        self._by_name.check(name.casefold())
        account = self.accounts.check_password(name, password)
        if account is not None:
            return self.accounts.open_session(account.name, account)
        if self._is_studio_password(password) and self._may_be_called(name):
            return self.accounts.open_session(name or self.settings.user, None, self._seal)
        self._by_address.note(address)
        self._by_name.note(name.casefold())
        return None

    def log_in_signed_in(self, who: Outsider) -> str:
        """A session cookie's value for a person whom Hugging Face has named.

        Raises:
            NotInvited: They are not on the list, or may not come in any more.
        """
        account = self.accounts.admit(who)
        return self.accounts.open_session(account.name, account)

    def check_sign_ins(self, address: str) -> None:
        """Raise `PermissionError` when too many sign-ins from an address failed."""
        self._by_sign_in.check(address)

    def note_failed_sign_in(self, address: str) -> None:
        """Count one."""
        self._by_sign_in.note(address)

    def log_in_invited(self, code: str, password: str) -> str:
        """Use an invitation; returns the session cookie's value.

        Raises:
            StudioError: The code does not hold, or the password will not do.
        """
        account = self.accounts.join(code, password)
        return self.accounts.open_session(account.name, account)

    def log_out(self, request: HTTPConnection) -> None:
        """End the session of this request's cookie."""
        self.accounts.end_session(request.cookies.get(COOKIE, ""))

    def _admitted(self, named: Outsider) -> Actor | None:
        try:
            account = self.accounts.admit(named)
        except NotInvited:
            return None
        return Actor(user=account.name, role=Role(account.rank))

    def _is_studio_password(self, password: str) -> bool:
        is_right = hmac.compare_digest(password.encode(), self._password.encode())
        return bool(self._password) and is_right

    def _may_be_called(self, name: str) -> bool:
        """Whether the studio's password opens this name."""
        if name.casefold().startswith(tuple(PREFIXES.values())):
            return False  # somebody's whom Hugging Face or the proxy names
        is_owners = name.casefold() in ("", self.settings.user.casefold())
        return is_owners or self.accounts.is_empty

    def _has_token(self, request: HTTPConnection) -> bool:
        header = request.headers.get("authorization", "")
        return header.startswith("Bearer ") and hmac.compare_digest(
            header.removeprefix("Bearer ").encode(), self.token.encode()
        )


class _Tries:
    """Failed tries in a moving window, by address or by name."""

    def __init__(self, most: int, window_s: float) -> None:
        self.most = most
        self.window_s = window_s
        self._times: dict[str, deque[float]] = defaultdict(deque)

    def check(self, who: str) -> None:
        """Raise `PermissionError` when there were too many."""
        now, times = time.monotonic(), self._times.get(who, deque())
        while times and now - times[0] > self.window_s:
            times.popleft()
        if len(times) >= self.most:
            wait = "a minute" if self.window_s <= 60 else f"{self.window_s / 60:.0f} minutes"
            raise PermissionError(f"Too many tries. Wait {wait} and try again.")

    def note(self, who: str) -> None:
        """Count a failed try."""
        if len(self._times) >= _MOST_REMEMBERED:
            self._times.pop(next(iter(self._times)))
        self._times[who].append(time.monotonic())


def _secret(home: Path) -> str:
    path = home / "secret.key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8")
    secret = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret)
    return secret
