"""Cookies with the attributes that this app's place needs.

A Space is shown in a frame of huggingface.co, another site, so its cookies are `SameSite=None;
Secure`. `Partitioned` besides: they work where third-party cookies are blocked, and no other site's
page that asks this app for something sends them along.
"""

import os

from starlette.requests import HTTPConnection
from starlette.responses import Response

IN_FRAME = "; Partitioned"  # Starlette writes it only from Python 3.14 on


def put_cookie(
    answer: Response, request: HTTPConnection, name: str, value: str, max_age_s: int
) -> None:
    """Set a cookie that scripts cannot read; 0 seconds delete it."""
    in_space = "SPACE_ID" in os.environ
    answer.set_cookie(
        name,
        value,
        max_age=max_age_s,
        httponly=True,
        samesite="none" if in_space else "lax",
        secure=in_space or request.url.scheme in {"https", "wss"},
    )
    if in_space:
        key, written = answer.raw_headers.pop()
        answer.raw_headers.append((key, written + IN_FRAME.encode()))
