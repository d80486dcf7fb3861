"""The server: tokens, faults, and which route answers what."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock
from urllib.parse import unquote

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from tests.fake_hub import jobs, reading, spaces, writing
from tests.fake_hub.faults import Fault, Faults
from tests.fake_hub.jobs import FakeJob
from tests.fake_hub.repos import Refused, Repo

Handler = Callable[..., Awaitable[Response]]
PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}


@dataclass(frozen=True)
class Token:
    """Who a token is, and what it may.

    Args:
        user: Whose it is.
        role: "write", "read", or "fineGrained".
        orgs: Organisations in which the user may write.
        scope: Of a fine-grained token: the namespaces or repositories it may write to.
    """

    user: str
    role: str = "write"
    orgs: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()

    def sees(self, repo: Repo) -> bool:
        """May a private repository be read with it."""
        return repo.namespace in (self.user, *self.orgs)

    def writes(self, namespace: str, repo_id: str = "") -> bool:
        """May it create or change something there."""
        if self.role == "fineGrained":
            return namespace in self.scope or repo_id in self.scope
        return self.role == "write" and namespace in (self.user, *self.orgs)


class FakeHub:
    """A Hub on a local port, with its large-file storage on another.

    `url` is the endpoint. Everything it keeps may be looked at and changed from the test's thread:
    `repos[kind, id]`, `tokens`, `requests` (method and path of each), `unknown` (paths that no
    route knows), `page_size`, `multipart_from` (bytes from which uploads come in parts),
    `has_billing` (paid hardware and Jobs are refused without), `jobs` (by id), `runs_jobs` (False:
    they stay SCHEDULING), `job_environment` (of every Job), `longest_job_s` (a limit before
    their own), `collections` (by slug), `sent_bytes` (of the bodies of all answers).
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.tokens: dict[str, Token] = {}
        self.faults = Faults()
        self.requests: list[tuple[str, str]] = []
        self.unknown: list[str] = []
        self.stored_bytes = 0  # received by the storage
        self.sent_bytes = 0
        self.collections: dict[str, dict[str, Any]] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.page_size = 1000
        self.multipart_from = 5 * 1024**3
        self.has_billing = True
        self.jobs: dict[str, FakeJob] = {}
        self.runs_jobs = True
        self.longest_job_s = 86_400.0
        self.job_environment: dict[str, str] = {}
        self.port = 0
        self.storage_url = ""
        self.start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, after `close` on the same port as before."""
        listeners = [socket.create_server(("127.0.0.1", port)) for port in (self.port, 0)]
        self.port, storage = (one.getsockname()[1] for one in listeners)
        self.storage_url = f"http://127.0.0.1:{storage}"
        config = uvicorn.Config(
            self._app,
            log_level="critical",
            lifespan="off",
            http="h11",
            interface="asgi3",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": listeners}, daemon=True
        )
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def close(self) -> None:
        """Stop listening, end its Jobs; what it keeps stays."""
        for job in self.jobs.values():
            job.forget()
        self._server.should_exit = True
        self._thread.join()

    def user(self, name: str, token: str = "", **fields: Any) -> str:
        """Make a user (or another token of one), and return the token.

        Args:
            name: Of the user.
            token: The token; empty: `hf_<name>`.
            fields: Of `Token`.
        """
        token = token or f"hf_{name}"
        self.tokens[token] = Token(name, **fields)
        return token

    def repo(self, repo_id: str, kind: str = "dataset") -> Repo:
        """A repository that is there."""
        return self.repos[kind, repo_id]

    def add(self, repo_id: str, kind: str = "dataset", *, private: bool = False) -> Repo:
        """Make a repository without the client."""
        repo = self.repos[kind, repo_id] = Repo(kind, repo_id, private=private)
        return repo

    def collect(
        self, slug: str, title: str, items: Sequence[tuple[str, str, str]], *, private: bool = False
    ) -> None:
        """Make a collection; each item is (type, id, note)."""
        self.collections[slug] = {
            "slug": slug,
            "title": title,
            "description": "",
            "owner": {"name": slug.split("/")[0], "type": "user"},
            "lastUpdated": "2026-01-01T00:00:00.000Z",
            "position": 0,
            "private": private,
            "theme": "blue",
            "upvotes": 0,
            "items": [
                {"_id": f"{n:024x}", "type": kind, "id": one, "position": n}
                | ({"note": {"text": note, "html": note}} if note else {})
                for n, (kind, one, note) in enumerate(items)
            ],
        }

    def delete(self, repo_id: str, kind: str = "dataset") -> None:
        """Delete a repository under the client's hands."""
        self.repos.pop((kind, repo_id), None)

    def fail(self, path: str, status: int = 0, **fields: Any) -> Fault:
        """Lay a fault in wait for requests whose path matches; see `Fault`."""
        return self.faults.add(Fault(path, status, **fields))

    def environment(self, token: str = "") -> dict[str, str]:
        """Variables under which another process uses this Hub."""
        said = {"HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        return said | ({"HF_TOKEN": token} if token else {})

    def page(self, repo: Repo) -> str:
        """The address of a repository's page."""
        return f"{self.url}/{PREFIXES[repo.kind]}{repo.id}"

    # Who asks ------------------------------------------------------------------------------

    def token_of(self, request: Request) -> Token | None:
        """Who the request's token is; None without one.

        Raises:
            Refused: 401 for a token that is not known.
        """
        header = request.headers.get("authorization", "")
        if not header:
            return None
        known = self.tokens.get(header.removeprefix("Bearer "))
        if known is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return known

    def readable(self, request: Request, kind: str, repo_id: str) -> Repo:
        """A repository that the request may see.

        Raises:
            Refused: `RepoNotFound`: 404, or 401 where there was no token, as the Hub does.
        """
        token = self.token_of(request)
        repo = self.repos.get((kind, repo_id))
        if repo is None or (repo.private and not (token and token.sees(repo))):
            if token is None:
                raise Refused(401, "Invalid username or password.", "RepoNotFound")
            raise Refused(404, "Repository not found", "RepoNotFound")
        return repo

    def writable(self, request: Request, kind: str, repo_id: str) -> tuple[Repo, Token]:
        """A repository that the request may change, and who asks.

        Raises:
            Refused: As `readable`, 401 without a token, 403 without the right.
        """
        repo = self.readable(request, kind, repo_id)
        token = self.token_of(request)
        if token is None:
            raise Refused(401, "Invalid username or password.")
        if token.role == "read":
            raise Refused(403, "Forbidden: you must use a write token to upload to a repository.")
        if not token.writes(repo.namespace, repo.id):
            raise Refused(403, "Forbidden: pass `create_pr=1` as a query parameter to create a PR")
        return repo, token

    # Serving ---------------------------------------------------------------------------------

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["raw_path"].decode()
        self.requests.append((scope["method"], path))
        fault = self.faults.next(scope["method"], path)
        transport = send.__self__.transport  # type: ignore[attr-defined]
        send = self._counting(send)
        if fault is not None:
            if fault.delay_s:
                await asyncio.sleep(fault.delay_s)
            if fault.act:
                fault.act()
            if fault.cuts == "before":
                transport.abort()
                return
            if fault.status:
                await _refusal(Refused(fault.status, fault.message), fault.headers)(
                    scope, receive, send
                )
                return
            if fault.cuts:
                send = _cutting(send, transport, fault.cuts)
        try:
            response = await self._answer(Request(scope, receive), path)
        except Exception as error:
            self.unknown.append(f"{scope['method']} {path}: {error!r}")
            raise
        await response(scope, receive, send)

    def _counting(self, send: Send) -> Send:
        async def counting(message: Message) -> None:
            self.sent_bytes += len(message.get("body", b""))
            await send(message)

        return counting

    async def _answer(self, request: Request, path: str) -> Response:
        is_storage = request.scope["server"][1] != self.port
        for method, pattern, handler in STORAGE if is_storage else ROUTES:
            match = re.fullmatch(pattern, path)
            if match and (method == request.method or (method, request.method) == ("GET", "HEAD")):
                found = {name: unquote(one or "") for name, one in match.groupdict().items()}
                try:
                    return await handler(self, request, **found)
                except Refused as error:
                    return _refusal(error)
        self.unknown.append(f"{request.method} {path}")
        return _refusal(Refused(404, "Sorry, we can't find the page you are looking for."))


def _refusal(error: Refused, headers: dict[str, str] | None = None) -> Response:
    said = {"X-Error-Message": error.message.replace("\n", " "), "X-Request-Id": "Root=1-fake"}
    if error.code:
        said["X-Error-Code"] = error.code
    return JSONResponse(error.body, error.status, {**said, **(headers or {})})


def _cutting(send: Send, transport: Any, when: str) -> Send:
    """A `send` that breaks the connection before or in the middle of the answer."""

    async def cut(message: Message) -> None:
        if when == "after" or transport.is_closing():
            transport.abort()
        elif message["type"] == "http.response.start":
            await send(message)
        elif message.get("body"):
            body = message["body"]
            await send({**message, "body": body[: len(body) // 2], "more_body": True})
            transport.close()  # what was written still goes out

    return cut


@contextmanager
def online() -> Iterator[None]:
    """In this process huggingface_hub is online (tests are offline by default) and without Xet."""
    from huggingface_hub import constants

    with (
        mock.patch.object(constants, "HF_HUB_OFFLINE", False),
        mock.patch.object(constants, "HF_HUB_DISABLE_XET", True),
    ):
        yield


_ID = r"(?P<repo_id>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>model|dataset|space)s/{_ID}"
_PAGE = rf"/(?:(?P<kind>dataset|space)s/)?{_ID}"
_JOB = r"/api/jobs/(?P<namespace>[^/]+)/(?P<job_id>[^/]+)"
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/api/whoami-v2", reading.whoami),
    ("POST", "/api/validate-yaml", reading.validate_yaml),
    ("GET", r"/api/collections/(?P<slug>[^/]+/[^/]+)", reading.collection),
    ("POST", "/api/repos/create", writing.create_repo),
    ("DELETE", "/api/repos/delete", writing.delete_repo),
    ("GET", rf"{_API}(?:/revision/(?P<revision>[^/]+))?", reading.info),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", reading.tree),
    ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", reading.paths_info),
    ("GET", rf"{_API}/auth-check", reading.auth_check),
    ("GET", rf"{_API}/refs", reading.refs),
    ("GET", rf"{_API}/commits/(?P<revision>[^/]+)", reading.commits),
    ("PUT", rf"{_API}/settings", writing.settings),
    ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)", writing.preupload),
    ("POST", rf"{_API}/commit/(?P<revision>[^/]+)", writing.commit),
    ("POST", rf"{_API}/tag/(?P<name>[^/]+)", writing.create_tag),
    ("DELETE", rf"{_API}/tag/(?P<name>[^/]+)", writing.delete_tag),
    ("POST", rf"{_API}/branch/(?P<name>[^/]+)", writing.create_branch),
    ("DELETE", rf"{_API}/branch/(?P<name>[^/]+)", writing.delete_branch),
    ("POST", rf"{_API}/super-squash/(?P<name>[^/]+)", writing.squash),
    ("GET", rf"/api/spaces/{_ID}/(?P<what>secrets|variables|runtime)", spaces.read),
    ("POST", rf"/api/spaces/{_ID}/(?P<what>secrets|variables)", spaces.put),
    ("DELETE", rf"/api/spaces/{_ID}/(?P<what>secrets|variables)", spaces.drop),
    ("POST", rf"/api/spaces/{_ID}/(?P<what>hardware|sleeptime|pause|restart)", spaces.act),
    ("PUT", rf"/api/spaces/{_ID}/volumes", spaces.set_volumes),
    ("DELETE", rf"/api/spaces/{_ID}/volumes", spaces.delete_volumes),
    ("GET", "/api/agent-harnesses", jobs.harnesses),
    ("GET", "/api/jobs/hardware", jobs.hardware),
    ("GET", r"/api/jobs/(?P<namespace>[^/]+)", jobs.listed),
    ("POST", r"/api/jobs/(?P<namespace>[^/]+)", jobs.start),
    ("GET", rf"{_JOB}", jobs.look),
    ("POST", rf"{_JOB}/cancel", jobs.cancel),
    ("GET", rf"{_JOB}/logs", jobs.logs),
    ("POST", rf"{_PAGE}\.git/info/lfs/objects/batch", writing.lfs_batch),
    ("POST", rf"{_PAGE}\.git/info/lfs/verify", writing.lfs_verify),
    ("POST", rf"{_PAGE}\.git/info/lfs/complete", writing.lfs_complete),
    ("GET", rf"{_PAGE}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", reading.resolve),
)
_OBJECT = rf"/(?P<kind>model|dataset|space)s/{_ID}/(?P<oid>[0-9a-f]{{64}})"
STORAGE: tuple[tuple[str, str, Handler], ...] = (
    ("PUT", rf"{_OBJECT}(?:/(?P<part>\d+))?", writing.store),
    ("GET", _OBJECT, reading.stored),
)
