"""The gate in front of every route, Gradio's included: nothing behind it answers a stranger.

An ASGI middleware, so that it also sees web sockets and streams.
"""

from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distill_studio.core.settings import LOOPBACK_HOSTS
from distill_studio.web.identity import Identity
from distill_studio.web.pages import LOCKED_PAGE

OPEN_PATHS = {"/login"}
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


class Guard:
    """Lets through what may pass, answers the rest itself."""

    def __init__(self, app: ASGIApp, identity: Identity) -> None:
        self.app = app
        self.identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(HTTPConnection(scope), scope)
        if refusal is not None and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (refusal or self.app)(scope, receive, send_with_headers)

    def _refusal(self, connection: HTTPConnection, scope: Scope) -> Response | None:
        settings = self.identity.settings
        path, method = scope["path"], scope.get("method", "GET")
        actor = self.identity.actor(connection)
        if settings.is_locked and actor is None:
            if path == "/" and method in {"GET", "HEAD"}:
                return HTMLResponse(LOCKED_PAGE)
            return _error(403, "locked", "This studio is locked: no password is set.")
        if settings.is_loopback and not _is_loopback_host(connection.headers):
            return _error(403, "wrong_host", "This studio answers only under its local address.")
        if not _is_same_origin(connection.headers, is_safe=method in _SAFE_METHODS):
            return _error(403, "wrong_origin", "Requests from other sites are refused.")
        if actor is None and path not in OPEN_PATHS:
            if method == "GET" and "text/html" in connection.headers.get("accept", ""):
                query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
                return RedirectResponse(f"/login?next={quote(path + query)}", status_code=303)
            return _error(401, "unauthorised", "Log in first.")
        return None


def _error(status: int, code: str, message: str) -> Response:
    body = {"error": {"code": code, "message": message, "hint": ""}}
    return JSONResponse(body, status_code=status)


def _is_loopback_host(headers: Headers) -> bool:
    """A page of another site whose name was pointed at this machine has its own Host header."""
    return urlsplit(f"//{headers.get('host', '')}").hostname in LOOPBACK_HOSTS


def _is_same_origin(headers: Headers, *, is_safe: bool) -> bool:
    """False for other sites' pages; they may only lead here (a link sends no Origin).

    Browsers send Origin with every request that could change something, open a web socket, or
    let the asking page read the answer.
    """
    origin = headers.get("origin")
    if origin is None:
        site = headers.get("sec-fetch-site", "same-origin")  # absent: not a browser
        return is_safe or site in {"same-origin", "none"}
    forwarded = headers.get("x-forwarded-host")
    return urlsplit(origin).netloc in {headers.get("host"), forwarded} - {None}
