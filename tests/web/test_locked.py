"""On a host other than loopback without a password, nothing but the read-only page answers."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from distill_studio.web.pages import LOCKED_PAGE

EXTRA = (
    "/api/main/seeds_page",
    "/api/main/no_such_operation",
    "/files/main/exports/a.jsonl",
    "/gradio_api/call/overview_counts",
    "/gradio_api/run/predict",
    "/gradio_api/queue/join",
    "/gradio_api/queue/data",
    "/gradio_api/upload",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/info",
    "/gradio_api/mcp/sse",
    "/config",
    "/theme.css",
    "/assets/index.js",
    "/login",
    "/%2e%2e/etc/passwd",
    "/robots.txt",
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")


def all_routes(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[tuple[str, BaseRoute]]:
    """(path with its parameters filled in, route) of every route, mounted apps included."""
    for route in routes:
        if hasattr(route, "original_router"):  # FastAPI keeps included routers whole
            inside = prefix + route.include_context.prefix
            yield from all_routes(route.original_router.routes, inside)
            continue
        path = prefix + getattr(route, "path", "")
        children = getattr(route, "routes", None)
        if children:
            yield from all_routes(children, path.rstrip("/"))
        if not hasattr(route, "app") or not children:
            yield re.sub(r"\{[^}]*\}", "main", path) or "/", route


def test_every_route_of_a_locked_app_refuses_strangers(serve):
    with serve(host="0.0.0.0") as client:
        routes = list(all_routes(client.app.routes))
        paths = {path for path, route in routes if not isinstance(route, WebSocketRoute)}
        assert {"/api/status", "/login", "/gradio_api/queue/join", "/config"} <= paths, paths
        for path in sorted(paths | set(EXTRA)):
            for method in METHODS:
                answer = client.request(method, path, content=b"{}")
                if path == "/" and method in ("GET", "HEAD"):
                    assert answer.text == (LOCKED_PAGE if method == "GET" else "")
                else:
                    assert answer.status_code == 403, f"{method} {path}: {answer.status_code}"
                    assert method == "HEAD" or answer.json()["error"]["code"] == "locked"


def test_a_locked_app_takes_no_web_socket(serve):
    with serve(host="0.0.0.0") as client:
        for path in ("/", "/gradio_api/queue/join", "/api/status"):
            with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
                pass


def test_the_read_only_page_says_how_to_unlock(serve):
    with serve(host="192.0.2.7") as client:
        assert "DISTILL_STUDIO_PASSWORD" in client.get("/").text


def test_a_space_is_locked_even_on_loopback(serve, monkeypatch):
    with serve(host="127.0.0.1") as client:
        assert client.get("/api/status").status_code == 200
    monkeypatch.setenv("SPACE_ID", "somebody/studio")
    with serve(host="127.0.0.1") as client:
        assert client.get("/api/status").status_code == 403


def test_the_real_process_on_all_addresses_is_locked_but_for_its_token(start_app, tmp_path: Path):
    app = start_app(tmp_path / "home", {"DISTILL_STUDIO_HOST": "0.0.0.0"})
    assert httpx.get(app.url, timeout=60).text == LOCKED_PAGE
    assert httpx.get(f"{app.url}/api/status", timeout=60).status_code == 403
    assert httpx.post(f"{app.url}/api/main/overview_counts", json={}, timeout=60).status_code == 403
    wrong = {"Authorization": "Bearer guess"}
    assert httpx.get(f"{app.url}/api/status", headers=wrong, timeout=60).status_code == 403
    assert app.post("overview_counts").status_code == 200  # a command on this machine may
