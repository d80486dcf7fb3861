"""The answer to a log-in: the session's cookie, and the way to where the person was going."""

from fastapi import Request
from fastapi.responses import RedirectResponse

from distill_studio.web.cookies import put_cookie
from distill_studio.web.identity import COOKIE, SESSION_S


def with_session(request: Request, path: str, session: str) -> RedirectResponse:
    """The answer that logs somebody in and leads on."""
    answer = RedirectResponse(path, status_code=303)
    put_cookie(answer, request, COOKIE, session, SESSION_S)
    return answer


def local_path(path: str) -> str:
    """The path when it stays in this app, else the home page."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_local else "/"
