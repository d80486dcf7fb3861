"""A proxy that lets people in: its header counts from its own addresses, and for the same list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import HTTPConnection

from distill_studio.core.errors import InvalidInput
from distill_studio.core.settings import Settings
from distill_studio.web.proxy import PEER, TrustedProxy

PROXY = {
    "host": "0.0.0.0",
    "proxy_header": "Remote-User",
    "proxy_groups_header": "Remote-Groups",
    "proxy_addresses": "10.0.0.5, 10.1.0.0/16 fd00::/8",
    "owners": "olga@example.org",
    "reviewers": "Ann org:lab",
}
WORDS = "correct horse battery"
HTML = {"accept": "text/html"}


def me(client, headers: Any = None):
    return client.post("/api/main/users_me", json={}, headers=headers or {})


NAMED: list[tuple[dict[str, str], tuple[str, str] | None]] = [
    ({"Remote-User": "ann"}, ("proxy:ann", "reviewer")),
    ({"Remote-User": "olga@example.org"}, ("proxy:olga@example.org", "owner")),
    ({"Remote-User": "bob", "Remote-Groups": "x, Lab"}, ("proxy:bob", "reviewer")),
    ({"Remote-User": "bob", "Remote-Groups": "laboratory"}, None),
    ({"Remote-User": "lab"}, None),
    ({"Remote-User": "org:lab"}, None),
    ({"Remote-User": "proxy:ann"}, None),
    ({"Remote-User": "hf:ann"}, None),
    ({"Remote-User": "\xe4nn"}, None),
    ({"Remote-User": "a" * 200}, None),
]


@pytest.mark.parametrize("peer", ["10.0.0.5", "::ffff:10.1.2.3"])
def test_whom_the_proxy_names_is_who_asks(serve, peer):
    with serve(peer, **PROXY) as client:
        for headers, expected in NAMED:
            answer = me(client, {n: value.encode("latin-1") for n, value in headers.items()})
            if expected is None:
                assert answer.status_code == 403, headers
                assert answer.json()["error"]["code"] == "not_invited"
            else:
                assert (answer.json()["name"], answer.json()["role"]) == expected


@pytest.mark.parametrize(
    ("peer", "is_proxy"),
    [
        ("10.0.0.5", True),
        ("10.1.200.3", True),
        ("fd00::1", True),
        ("::ffff:10.0.0.5", True),
        ("10.0.0.6", False),
        ("10.2.0.1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_only_the_connections_own_address_makes_it_the_proxys(peer, is_proxy):
    proxy = TrustedProxy(Settings(**PROXY))
    headers = [(b"remote-user", b"ann"), (b"x-forwarded-for", b"10.0.0.5")]
    scope = {"type": "http", "headers": headers, "client": ("10.0.0.5", 1), PEER: peer}
    if not peer:
        scope["client"] = None
    assert (proxy.person(HTTPConnection(scope)) is not None) is is_proxy


@pytest.mark.parametrize("peer", ["10.0.0.6", "testclient"])
def test_from_any_other_address_the_header_is_nothing(serve, peer):
    with serve(peer, **PROXY) as client:
        for header in ("Remote-User", "remote-user", "Remote_User", "X-Forwarded-User"):
            more = {header: "olga@example.org", "X-Forwarded-For": "10.0.0.5"}
            assert me(client, more).status_code == 401, header
        page = client.get("/", headers=HTML | {"Remote-User": "olga@example.org"})
        assert page.headers["location"].startswith("/login")


def test_a_header_that_is_there_twice_or_empty_names_nobody(serve):
    with serve("10.0.0.5", **PROXY) as client:
        twice = [("Remote-User", "ann"), ("Remote-User", "olga@example.org")]
        assert me(client, twice).status_code == 401
        groups = [("Remote-User", "x"), ("Remote-Groups", "lab"), ("Remote-Groups", "lab")]
        assert me(client, groups).status_code == 403
        for empty in ("", " "):
            assert me(client, {"Remote-User": empty}).status_code == 401


def test_who_is_not_on_the_list_is_told_whom_to_ask_and_gets_nowhere(serve):
    with serve("10.0.0.5", **PROXY) as client:
        mallory = {"Remote-User": "mallory<b>"}
        for path in ("/", "/login", "/join", "/config", "/api/status", "/nothing"):
            answer = client.get(path, headers=HTML | mallory)
            assert answer.status_code == 403, path
            assert "<strong>olga@example.org</strong>" in answer.text
            assert "<b>" not in answer.text
        form = {"user": "x", "password": "y"}
        assert client.post("/login", data=form, headers=mallory).status_code == 403
    with serve("10.0.0.5", **PROXY | {"contact": "studio@example.org"}) as client:
        answer = client.get("/", headers=HTML | {"Remote-User": "mallory"})
        assert "<strong>studio@example.org</strong>" in answer.text


def test_the_proxys_word_goes_before_a_session_that_somebody_left(serve):
    with serve("10.0.0.5", **PROXY) as client:
        owner = {"Remote-User": "olga@example.org"}
        made = {"name": "lea", "role": "owner", "password": WORDS}
        assert client.post("/api/main/users_add", json=made, headers=owner).status_code == 200
        form = {"user": "lea", "password": WORDS}
        assert client.post("/login", data=form).status_code == 303  # around the proxy's log-in
        assert me(client).json()["name"] == "lea"
        assert me(client, {"Remote-User": "ann"}).json()["name"] == "proxy:ann"
        assert me(client, {"Remote-User": "mallory"}).status_code == 403
        assert client.get("/login", headers={"Remote-User": "ann"}).headers["location"] == "/"


def test_people_of_the_proxy_can_be_invited_and_shut_out(serve):
    with serve("10.0.0.5", **PROXY) as client:
        owner = {"Remote-User": "olga@example.org"}

        def call(operation: str, **arguments: Any) -> httpx.Response:
            return client.post(f"/api/main/{operation}", json=arguments, headers=owner)

        call("users_add", name="Dana", role="viewer", via="proxy")
        assert me(client, {"Remote-User": "dana"}).json()["role"] == "viewer"
        call("users_disable", name="proxy:ann")  # nobody yet
        me(client, {"Remote-User": "ann"})
        assert call("users_disable", name="proxy:ann").status_code == 200
        assert me(client, {"Remote-User": "ANN"}).status_code == 403
        assert call("users_disable", name="proxy:olga@example.org").status_code == 409  # the last


@pytest.mark.parametrize(
    "changes",
    [
        {"proxy_header": "Remote-User"},
        {"proxy_addresses": "10.0.0.5"},
        {"proxy_header": "Remote-User", "proxy_addresses": "proxy.example"},
        {"owners": "ann, <b>"},
        {"viewers": "org:"},
    ],
)
def test_settings_that_cannot_be_read_are_refused_at_the_start(serve, changes):
    with pytest.raises(InvalidInput), serve(**changes):
        pass


def test_no_header_is_trusted_in_a_space(serve, monkeypatch):
    with pytest.raises(InvalidInput, match="On a Space"):
        monkeypatch.setenv("SPACE_ID", "me/studio")
        with serve(**PROXY):
            pass


def test_without_a_list_the_studio_stays_locked(serve):
    bare = PROXY | {"owners": "", "reviewers": ""}
    with serve("10.0.0.5", **bare) as client:
        assert me(client, {"Remote-User": "ann"}).json()["error"]["code"] == "locked"


def test_on_this_machine_a_proxy_ends_the_open_door(serve):
    local = PROXY | {"host": "127.0.0.1", "proxy_addresses": "127.0.0.1"}
    with serve("127.0.0.1", **local) as client:
        assert me(client).status_code == 401
        assert me(client, {"Remote-User": "ann"}).status_code == 200
        rebound = {"Remote-User": "ann", "Host": "evil.example"}
        assert me(client, rebound).json()["error"]["code"] == "wrong_host"


@pytest.mark.slow
def test_the_real_process_believes_the_connection_not_what_is_forwarded(start_app, tmp_path: Path):
    """uvicorn's own reading of X-Forwarded-For must not pass for the proxy's address."""
    env = {
        "DISTILL_STUDIO_HOST": "127.0.0.1",
        "DISTILL_STUDIO_PROXY_HEADER": "Remote-User",
        "DISTILL_STUDIO_PROXY_ADDRESSES": "10.0.0.5",
        "DISTILL_STUDIO_OWNERS": "olga",
    }
    app = start_app(tmp_path / "home", env)
    forged = {"Remote-User": "olga", "X-Forwarded-For": "10.0.0.5"}
    url = f"{app.url}/api/main/users_me"
    assert httpx.post(url, json={}, headers=forged, trust_env=False, timeout=60).status_code == 401
    app.stop()
    app = start_app(tmp_path / "home", env | {"DISTILL_STUDIO_PROXY_ADDRESSES": "127.0.0.1"})
    url = f"{app.url}/api/main/users_me"
    there = {"Remote-User": "olga", "X-Forwarded-For": "203.0.113.9"}
    found = httpx.post(url, json={}, headers=there, trust_env=False, timeout=60)
    assert found.json()["role"] == "owner"
    assert httpx.post(url, json={}, trust_env=False, timeout=60).status_code == 401
