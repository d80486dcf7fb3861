"""Every route that the running app has, called as stranger, uninvited and dropped person.

The lists are read off the running app (its routes, operations, named endpoints, page events, server
functions of components, files), so what is new is covered by itself. The app is served over HTTP
from this process, in the environment of a Space, so that its whole store can be compared.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import uvicorn

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.settings import Settings
from distill_studio.services import operations
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import STORE_FILE
from distill_studio.store import pairs as pairs_table
from distill_studio.web.guard import HUB_PATHS, OPEN_PATHS
from distill_studio.web.identity import COOKIE, Identity
from distill_studio.web.proxy import behind_proxies
from distill_studio.web.server import create_app
from tests.browser.bench_data import make_pairs
from tests.fake_hub_login import FakeHubLogin, Person
from tests.space import Visitor, space_environment
from tests.web.test_locked import METHODS, all_routes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]  # thousands of requests
OWNER = Actor(user="owner", role=Role.OWNER)
TOKEN = "a-token-of-a-test"


@dataclass
class Served:
    """The app: over HTTP at `url`, and from inside."""

    studio: Studio
    identity: Identity
    app: Any
    url: str
    hub: FakeHubLogin
    files: list[str] = field(default_factory=list)

    @property
    def page(self) -> Any:
        """Gradio's Blocks."""
        mounted = [r.app for r in self.app.routes if hasattr(getattr(r, "app", None), "get_blocks")]
        return mounted[0].get_blocks()

    def paths(self) -> list[str]:
        """All paths of all routes, parameters filled in, and of files that are there."""
        found = {path for path, _ in all_routes(self.app.routes)}
        named = [
            f"/gradio_api/{how}/{name}" for name in self.endpoints() for how in ("run", "call")
        ]
        asked = [f"/api/main/{name}" for name in operations.operations()]
        return sorted({*found, *named, *asked, *self.files, "/nothing/here", "/.env"})

    def endpoints(self) -> list[str]:
        """Gradio's named endpoints."""
        return sorted({str(e.api_name) for e in self.page.fns.values() if e.api_name})

    def state(self) -> dict[str, str]:
        """All that is kept: every table of every workspace, accounts, files; as digests."""
        found: dict[str, str] = {}
        for name in self.studio.workspace_names():
            database = self.studio.workspace(name).db
            tables = database.rows(
                "SELECT table_name AS t FROM information_schema.tables WHERE table_type ="
                " 'BASE TABLE' ORDER BY ALL"
            )
            assert len(tables) > 20
            for table in (row["t"] for row in tables):
                rows = database.rows(f'SELECT * FROM "{table}" ORDER BY ALL')
                found[f"{name}.{table}"] = f"{len(rows)} rows, {_digest(repr(rows).encode())}"
        for account in self.studio.accounts.page():
            found[f"account {account.name}"] = repr(account.model_copy(update={"seen_at": None}))
        for path in self.studio.home.rglob("*"):
            if path.is_file() and not path.name.startswith((STORE_FILE, "people.sqlite")):
                found[str(path.relative_to(self.studio.home))] = _digest(path.read_bytes())
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, starter_cache: Path) -> Iterator[Served]:
    hub = FakeHubLogin()
    with pytest.MonkeyPatch.context() as patch:
        env = space_environment(hub, DISTILL_STUDIO_REVIEWERS="rea", DISTILL_STUDIO_VIEWERS="vic")
        for name, value in env.items():
            patch.setenv(name, value)
        settings = Settings(
            home=tmp_path_factory.mktemp("held") / "home", cache=starter_cache, port=0
        )
        studio = build_studio(settings)
        identity = Identity(settings, TOKEN, studio.accounts)
        app = create_app(studio, identity, on_close=lambda: None)
        config = uvicorn.Config(
            behind_proxies(app, settings), host="127.0.0.1", port=0, log_level="error",
            proxy_headers=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            thread.join(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        made = Served(studio, identity, app, f"http://127.0.0.1:{port}", hub)
        _fill(made)
        yield made
        server.should_exit = True
        thread.join(30)
        studio.close()
    hub.close()


def _fill(served: Served) -> None:
    """Some of everything: rows, a decision, a snapshot, files of each kind."""
    workspace = served.studio.workspace("main")
    pairs_table.insert(workspace.db, make_pairs(6, candidates=2))
    served.studio.accounts.add("local", "reviewer", "owner", "correct horse battery")
    exported = workspace.folder / "exports" / "pairs.jsonl"
    exported.parent.mkdir(exist_ok=True)
    exported.write_text('{"a": 1}\n')
    with httpx.Client(base_url=served.url, trust_env=False) as client:
        answer = client.post(
            "/gradio_api/upload",
            files={"files": ("sent.jsonl", b'{"prompt": "hidden"}\n')},
            headers={"authorization": f"Bearer {TOKEN}"},
        )
    assert answer.status_code == 200, answer.text
    uploaded = answer.json()[0]
    store = workspace.folder / STORE_FILE
    served.files = [
        "/files/main/exports/pairs.jsonl",
        *(
            f"{before}{quote(str(path))}"
            for before in ("/gradio_api/file=", "/file=", "/gradio_api/file/")
            for path in (uploaded, store, served.studio.home / "people.sqlite", "/etc/passwd")
        ),
    ]


@pytest.fixture
def stranger(served: Served) -> Iterator[Visitor]:
    visitor = Visitor(served.url)
    yield visitor
    visitor.close()


@pytest.fixture
def uninvited(served: Served) -> Iterator[Visitor]:
    """Signed in with Hugging Face, and on no list."""
    visitor = Visitor(served.url)
    assert visitor.sign_in(served.hub, Person("mallory")).status_code == 403
    yield visitor
    visitor.close()


@pytest.fixture
def dropped(served: Served) -> Iterator[Visitor]:
    """Somebody whose session is there and who is not on the list any more."""
    accounts = served.studio.accounts
    account = accounts.add("gone", "viewer", "owner", via="huggingface")
    visitor = Visitor(served.url)
    visitor.cookies[COOKIE] = accounts.open_session(account.name, account)
    assert visitor.call("users_me").status_code == 200
    accounts._store.change("hf:gone", role="")
    yield visitor
    visitor.close()


def ask(visitor: Visitor, method: str, path: str, **more: Any) -> tuple[int, str]:
    """Status, and where a redirect leads; a stream is read no further than its beginning."""
    headers = {"cookie": "; ".join(f"{n}={v}" for n, v in visitor.cookies.items())}
    headers |= {"host": "me-studio.hf.space", "x-forwarded-proto": "https"}
    headers |= more.pop("headers", {})
    request = visitor._client.build_request(method, path, headers=headers, timeout=20, **more)
    answer = visitor._client.send(request, stream=True)
    answer.close()
    return answer.status_code, answer.headers.get("location", "")


@pytest.mark.parametrize("who", ["stranger", "uninvited", "dropped"])
def test_whoever_is_not_invited_gets_the_open_paths_and_nothing_else(
    served: Served, who: str, request: pytest.FixtureRequest
):
    visitor = request.getfixturevalue(who)
    paths, before, called = served.paths(), served.state(), 0
    assert len(paths) > 600
    methods = METHODS if who == "stranger" else ("GET", "POST")  # the guard asks no other question
    for path, method in itertools.product(paths, methods):
        if method in (OPEN_PATHS | HUB_PATHS).get(path, ()):
            continue
        kept = dict(visitor.cookies)
        status, location = ask(visitor, method, path, content=b"{}")
        visitor.cookies, called = kept, called + 1
        assert status == 401, f"{method} {path}: {status} {location}"
    for path in paths:  # as a browser asks for a page
        if path not in OPEN_PATHS | HUB_PATHS:
            status, location = ask(visitor, "GET", path, headers={"accept": "text/html"})
            assert (status, location.split("?")[0]) == (303, "/login"), path
    assert called > 1200
    assert served.state() == before


def test_the_open_paths_tell_and_change_nothing(served: Served, stranger: Visitor):
    before = served.state()
    told = []
    for path in sorted(OPEN_PATHS | HUB_PATHS):
        for method in (OPEN_PATHS | HUB_PATHS)[path]:
            answer = stranger.request(method, path)
            assert answer.status_code in {200, 303, 400, 404, 405, 422}, f"{method} {path}"
            told.append(answer.text)
    for secret in ("Question number", "secret-teacher", "local", TOKEN, "rea", "vic"):
        assert not [t for t in told if re.search(rf"\b{secret}\b", t)], secret
    assert served.state() == before


def test_no_web_socket_opens_for_a_stranger(served: Served, stranger: Visitor):
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for path in served.paths():
        if path not in OPEN_PATHS | HUB_PATHS:
            status, _ = ask(stranger, "GET", path, headers=upgrade)
            assert status in {401, 403}, path  # 403: closed before it was opened


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
