"""Fixtures of all tests: a real studio over a temporary data folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.settings import Settings
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import Workspace


@pytest.fixture(scope="session")
def starter_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for models made from the starter packages, shared by the whole session."""
    return tmp_path_factory.mktemp("model-cache")


@pytest.fixture
def settings(tmp_path: Path, starter_cache: Path) -> Settings:
    """Settings over a temporary data folder."""
    return Settings(home=tmp_path / "home", cache=starter_cache, port=0)


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    """A real studio; closed at the end."""
    studio = build_studio(settings)
    yield studio
    studio.close()


@pytest.fixture
def workspace(studio: Studio) -> Workspace:
    """The workspace `main` of the studio."""
    return studio.workspace("main")


@pytest.fixture
def owner() -> Actor:
    """Somebody who may do everything."""
    return Actor(user="owner", role=Role.OWNER)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of public data for optional tests; skips when it is not there."""
    folder = Path(
        os.environ.get("DISTILL_STUDIO_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")
    )
    if not folder.is_dir():
        pytest.skip("the optional data folder is not here")
    return folder
