"""Fixtures of all tests: a real studio over a temporary data folder, the real app as a process.

`app_url` is one app for the whole session; `start_app` starts more, to be locked, killed and
started again; `page` is a Chromium page on `app_url`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.settings import Settings
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import Workspace
from distill_studio.store import migrate
from tests.fake_hub import FakeHub, online
from tests.page_log import PageLog

_PAGE_LOG = pytest.StashKey[PageLog]()
ROOT = Path(__file__).parents[1]
START_LIMIT_S = 300.0
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing leaves this machine
]

# A busy machine is no failure: what takes how long is for the benchmarks to say.
hypothesis.settings.register_profile("studio", deadline=None)
hypothesis.settings.load_profile("studio")


@pytest.fixture(scope="session")
def starter_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for models made from the starter packages, for the session and all its workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "model-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_migration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new store is a copy of one that was migrated once: a thousand tests begin with one."""
    folder, real = tmp_path_factory.mktemp("migrated"), migrate.migrate

    def copied(path: Path) -> None:
        if path.exists():
            real(path)
            return
        made = folder / ("-".join(str(number) for number, _ in migrate.migrations()))
        if not made.exists():
            real(made)
        shutil.copyfile(made, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill_studio.store.database.migrate", copied)
        yield


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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub with the user `ann`, for this process; nobody waits long for it."""
    from huggingface_hub import close_session

    hub = FakeHub()
    hub.user("ann", orgs=("lab",))
    patient = SimpleNamespace(sleep=lambda _: None, time=time.time)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.utils._http.time", patient)
    monkeypatch.setattr("distill_studio.hub.client._wait_s", lambda _: 0.01)
    with online():
        yield hub
    close_session()
    hub.close()
    assert not hub.unknown


@dataclass
class RunningApp:
    """`python app.py` in a process of its own, over the data folder `home`."""

    home: Path
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def server_file(self) -> dict[str, Any]:
        """What the app wrote into server.json."""
        return json.loads((self.home / "server.json").read_text(encoding="utf-8"))

    def post(self, operation: str, *, workspace: str = "main", **arguments: Any) -> httpx.Response:
        """POST an operation as the command line does; the response as it came."""
        return httpx.post(
            f"{self.url}/api/{workspace}/{operation}",
            json=arguments,
            headers={"Authorization": f"Bearer {self.server_file['token']}"},
            timeout=120,
            trust_env=False,  # no proxy between us and this machine
        )

    def call(self, operation: str, *, workspace: str = "main", **arguments: Any) -> Any:
        """The result of an operation; fails the test when it is refused."""
        response = self.post(operation, workspace=workspace, **arguments)
        assert response.status_code == 200, f"{operation}: {response.status_code} {response.text}"
        return response.json()

    def kill(self) -> None:
        """kill -9, as a crash or a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=120)

    def stop(self) -> None:
        """Ask it to leave, as Ctrl+C or a supervisor would."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                self.kill()


StartApp = Callable[..., RunningApp]


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def app_environment(home: Path, port: int, env: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of an app or a command under test: none of the caller's own settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DISTILL_STUDIO_")}
    kept.pop("SPACE_ID", None)
    ours = {"DISTILL_STUDIO_HOME": str(home), "DISTILL_STUDIO_PORT": str(port)}
    return kept | {"HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"} | ours | (env or {})


def launch_app(home: Path, env: dict[str, str] | None = None, port: int = 0) -> RunningApp:
    """Start `python app.py` (on a free port for 0) and wait until its page answers."""
    port = port or free_port()
    home.mkdir(parents=True, exist_ok=True)
    log = home / "app.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=app_environment(home, port, env),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    app = RunningApp(home, f"http://127.0.0.1:{port}", process, log)
    try:
        if _answers_in_time(app):
            return app
    except BaseException:  # interrupted: nobody else knows of the process yet
        app.stop()
        raise
    app.stop()
    pytest.fail(f"the app did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _answers_in_time(app: RunningApp) -> bool:
    """Wait for the page; False when the process ends or takes too long."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and app.process.poll() is None:
        try:
            if httpx.get(app.url, timeout=10, trust_env=False).status_code < 500:
                return True
        except httpx.TransportError:
            time.sleep(0.1)
    return False


@pytest.fixture
def start_app(starter_cache: Path) -> Iterator[StartApp]:
    """`start_app(home, env=None)` starts an app; all of them are stopped at the end of the test."""
    running: list[RunningApp] = []

    def start(home: Path, env: dict[str, str] | None = None) -> RunningApp:
        app = launch_app(home, {"DISTILL_STUDIO_CACHE": str(starter_cache)} | (env or {}))
        running.append(app)
        return app

    yield start
    for app in running:
        app.stop()


@pytest.fixture(scope="session")
def running_app(
    tmp_path_factory: pytest.TempPathFactory, starter_cache: Path
) -> Iterator[RunningApp]:
    """The session's app: its process, URL, data folder and API."""
    app = launch_app(
        tmp_path_factory.mktemp("app") / "home", {"DISTILL_STUDIO_CACHE": str(starter_cache)}
    )
    yield app
    app.stop()


@pytest.fixture(scope="session")
def app_url(running_app: RunningApp) -> str:
    """Where the session's app answers."""
    return running_app.url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium without a network. One per file: its event loop would stop others' asyncio.run."""
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: install it or set CHROMIUM to run browser tests")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=180_000)  # a busy machine is slow, not wrong
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, app_url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh page, logged out of everything, on the session's app; relative URLs work.

    When the test fails, its report tells what the page did and shows.
    """
    context = chromium.new_context(base_url=app_url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(180_000)
    page = context.new_page()
    request.node.stash[_PAGE_LOG] = PageLog(page)
    page.goto("/")
    yield page
    context.close()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that may take longest begin first, or the last of them would run alone."""
    weights = Counter[Path]()
    for item in items:
        limit = item.get_closest_marker("timeout")
        weights[item.path] += limit.args[0] if limit else 10
    items.sort(key=lambda item: -weights[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what the page did under the report of a browser test that failed."""
    report = yield
    log = item.stash.get(_PAGE_LOG, None)
    if log is not None and report.when == "call" and report.failed:
        report.sections.append(("the page", log.text()))
    return report
