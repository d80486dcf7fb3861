"""The real FastAPI app over a real studio, called in this process."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from distill_studio.bootstrap import build_studio
from distill_studio.core.settings import Settings
from distill_studio.web.identity import Identity
from distill_studio.web.server import create_app
from tests.web.whole_app import TOKEN, Served, whole_app

Serve = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def serve(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """`with serve(host=..., password=...) as client`: a stranger's client of such an app; `peer` is
    the address that it comes from.
    """
    monkeypatch.delenv("SPACE_ID", raising=False)

    @contextlib.contextmanager
    def start(peer: str = "testclient", **changes: object) -> Iterator[TestClient]:
        ours = Settings(**(settings.model_dump() | changes))
        studio = build_studio(ours)
        try:
            identity = Identity(ours, TOKEN, studio.accounts)
            app = create_app(studio, identity, on_close=lambda: None)
            with TestClient(
                app,
                base_url="http://127.0.0.1:7860",
                follow_redirects=False,
                client=(peer, 50000),
            ) as client:
                yield client
        finally:
            studio.close()

    return start


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, starter_cache: Path) -> Iterator[Served]:
    """The whole app over HTTP, with some of everything in it."""
    with whole_app(tmp_path_factory.mktemp("held"), starter_cache) as made:
        yield made
