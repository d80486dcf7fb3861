"""Who is asking: this machine's user, a session cookie after log-in, or the token of server.json.

On loopback without a password everybody who reaches the port is the owner; the guard then lets
only this machine's own pages in (host and origin are checked, so no web page can reach over).
"""

import hashlib
import hmac
import os
import secrets
import time
from collections import defaultdict, deque
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import HTTPConnection

from distill_studio.core.actor import Actor, Role
from distill_studio.core.settings import Settings

COOKIE = "distill_studio_session"
SESSION_S = 12 * 3600
MAX_TRIES, TRIES_WINDOW_S = 5, 60.0


class Identity:
    """Answers who a request comes from.

    Args:
        settings: Password, user name, host.
        token: What commands on this machine send as a bearer token.
    """

    def __init__(self, settings: Settings, token: str) -> None:
        self.settings = settings
        self.token = token
        self._tries: dict[str, deque[float]] = defaultdict(deque)
        password = settings.password.get_secret_value() if settings.password else ""
        self._password = password
        # a changed password ends all sessions
        salt = hashlib.sha256(password.encode()).hexdigest()
        self._signer = URLSafeTimedSerializer(_secret(settings.home), salt=salt)

    @property
    def has_login(self) -> bool:
        """True when a password is set."""
        return bool(self._password)

    def actor(self, request: HTTPConnection) -> Actor | None:
        """The acting user, or None for a stranger."""
        if self._has_token(request):
            return Actor(user=self.settings.user, role=Role.OWNER)
        if self.settings.is_locked:
            return None
        if not self.has_login:
            return Actor(user=self.settings.user, role=Role.OWNER)
        try:
            user = self._signer.loads(request.cookies.get(COOKIE, ""), max_age=SESSION_S)
        except BadSignature:
            return None
        return Actor(user=str(user), role=Role.OWNER)

    def log_in(self, address: str, user: str, password: str) -> str | None:
        """A session cookie's value when the password is right, else None.

        Raises:
            PermissionError: Too many tries from this address.
        """
        now, tries = time.monotonic(), self._tries[address]
        while tries and now - tries[0] > TRIES_WINDOW_S:
            tries.popleft()
        if len(tries) >= MAX_TRIES:
            raise PermissionError("Too many tries. Wait a minute and try again.")
        if not hmac.compare_digest(password.encode(), self._password.encode()):
            tries.append(now)
            return None
        return str(self._signer.dumps(user.strip()[:200] or self.settings.user))

    def _has_token(self, request: HTTPConnection) -> bool:
        header = request.headers.get("authorization", "")
        return header.startswith("Bearer ") and hmac.compare_digest(
            header.removeprefix("Bearer ").encode(), self.token.encode()
        )


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
