"""The gate in front of every route, Gradio's included: nothing behind it answers a stranger.

An ASGI middleware, so that it also sees web sockets and streams.
"""

from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distill_studio.core.actor import Role
from distill_studio.core.settings import LOOPBACK_HOSTS
from distill_studio.services.outsiders import NotInvited
from distill_studio.web.hub_sign_in import CALLBACK, START
from distill_studio.web.identity import Identity
from distill_studio.web.pages import LOCKED_PAGE, refused_page

# What answers strangers, by path: methods. The second where people sign in with Hugging Face.
OPEN_PATHS = {"/login": {"GET", "POST"}, "/join": {"GET", "POST"}}
HUB_PATHS = {START: {"GET"}, CALLBACK: {"GET"}}
# Gradio's own: it keeps what is sent in a folder of its own, before any operation is asked.
_REVIEWERS_PATHS = {"/gradio_api/upload"}
# Gradio's, of no use here: each keeps what it is sent, or a page's values, in a folder of its own.
_UNUSED_PATHS = {"/gradio_api/process_recording", "/gradio_api/deep_link"}
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "content-security-policy": "frame-ancestors 'self'",
}
_SPACE_HEADERS = {"content-security-policy": "frame-ancestors 'self' https://huggingface.co"}


class Guard:
    """Lets through what may pass, answers the rest itself."""

    def __init__(self, app: ASGIApp, identity: Identity) -> None:
        self.app = app
        self.identity = identity
        self._open_paths = OPEN_PATHS | (HUB_PATHS if identity.hub else {})
        self._headers = _HEADERS | (_SPACE_HEADERS if identity.space else {})

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
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await (refusal or self.app)(scope, receive, send_with_headers)

    def _refusal(self, connection: HTTPConnection, scope: Scope) -> Response | None:
        settings = self.identity.settings
        path, method = scope["path"], scope.get("method", "GET")
        actor = self.identity.actor(connection)
        if self.identity.is_locked and actor is None:
            if path == "/" and method in {"GET", "HEAD"}:
                return HTMLResponse(LOCKED_PAGE)
            return _error(
                403, "locked", "This studio is locked: it has no password and no accounts."
            )
        if settings.is_loopback and not _is_loopback_host(connection.headers):
            return _error(403, "wrong_host", "This studio answers only under its local address.")
        if not _is_same_origin(connection.headers, is_safe=method in _SAFE_METHODS):
            return _error(403, "wrong_origin", "Requests from other sites are refused.")
        if actor is not None and actor.role < Role.REVIEWER and path in _REVIEWERS_PATHS:
            return _error(403, "not_allowed", "Uploads need the role reviewer.")
        if actor is not None and path in _UNUSED_PATHS:
            return _error(404, "not_found", "This studio does not use it.")
        refused = self.identity.refused(connection) if actor is None else None
        if refused is not None:
            return self._not_invited(connection, refused)
        if actor is None and method not in self._open_paths.get(path, ()):
            if method == "GET" and "text/html" in connection.headers.get("accept", ""):
                query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
                return RedirectResponse(f"/login?next={quote(path + query)}", status_code=303)
            return _error(401, "unauthorised", "Log in first.")
        return None

    def _not_invited(self, connection: HTTPConnection, refused: NotInvited) -> Response:
        if "text/html" in connection.headers.get("accept", ""):
            page = refused_page(refused.user_message, refused.hint, self.identity.whom_to_ask)
            return HTMLResponse(page, status_code=403, headers={"cache-control": "no-store"})
        return _error(403, refused.code, refused.user_message, refused.hint)


def _error(status: int, code: str, message: str, hint: str = "") -> Response:
    body = {"error": {"code": code, "message": message, "hint": hint}}
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
