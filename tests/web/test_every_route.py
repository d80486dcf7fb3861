"""Every route that the running app has, called as stranger, uninvited and dropped person.

The lists are read off the running app (its routes, operations, named endpoints, page events, server
functions of components, files), so what is new is covered by itself. What viewers and reviewers can
reach is in test_every_role.py.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from distill_studio.web.guard import HUB_PATHS, OPEN_PATHS
from distill_studio.web.identity import COOKIE
from tests.fake_hub_login import Person
from tests.space import Visitor
from tests.web.test_locked import METHODS
from tests.web.whole_app import TOKEN, Served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]  # thousands of requests


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
    request = visitor._client.build_request(method, path, headers=headers, timeout=240, **more)
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
