"""Check a teacher's address and the name of the variable that holds its key."""

import re
from urllib.parse import urlsplit, urlunsplit

from distill_studio.core.errors import InvalidInput
from distill_studio.core.reach import AddressRefused, Reach
from distill_studio.teachers.openai_errors import REFUSED_HINT

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_ENDPOINTS = ("/chat/completions", "/completions", "/models")


def checked_url(base_url: str) -> str:
    """The address in the form the adapter wants: scheme, host and a path such as `/v1`.

    Any host is taken; `check_reach` says which may be reached.

    Raises:
        InvalidInput: No http address, or one that carries a key (it would be stored).
    """
    text = base_url.strip()
    if text and "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as err:
        raise InvalidInput("The teacher's address is no URL.", _EXAMPLE) from err
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInput("The teacher's address is no http(s) URL.", _EXAMPLE)
    if "@" in parts.netloc or parts.query:
        raise InvalidInput(
            "The teacher's address carries a password or parameters, which would be stored.",
            "Give the bare address, and the key in its own field.",
        )
    path = parts.path.rstrip("/")
    for endpoint in _ENDPOINTS:
        path = path.removesuffix(endpoint)
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", "", ""))


def check_reach(url: str, reach: Reach) -> None:
    """Refuse at once a URL whose host is a number that may not be reached.

    Names are judged when they are connected to, by what they resolve to then.

    Raises:
        InvalidInput: The address is private or local, and nothing allows it.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        reach.check_literal(parts.hostname or "", port)
    except AddressRefused as err:
        raise InvalidInput(f"{err}.", REFUSED_HINT) from err


def checked_variable(key_env: str) -> str:
    """The name of an environment variable, or ''.

    Raises:
        InvalidInput: It looks like a key itself, or names a setting of this app. The value is
            not repeated.
    """
    name = key_env.strip()
    if not name:
        return ""
    if not _VARIABLE.fullmatch(name):
        raise InvalidInput(
            "That is not the name of an environment variable.",
            "Use capitals, digits and _, such as OPENAI_API_KEY. A key itself goes into the key"
            " field, which is never stored.",
        )
    if name.startswith("DISTILL_STUDIO_"):
        raise InvalidInput("The app's own settings are never sent to a teacher.")
    return name


_EXAMPLE = "It looks like http://127.0.0.1:8000/v1 or https://api.openai.com/v1."
