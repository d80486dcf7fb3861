"""The whole app, served over HTTP from this process in the environment of a Space, with some of
everything in its store: what every visitor's sweep runs against, so that all that is kept can be
compared.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import uvicorn

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import Decision, DecisionKind, Job, JobState, Run, RunState
from distill_studio.core.records.benchmark import BenchmarkRun, BenchmarkSettings
from distill_studio.core.records.comparison import (
    Answer,
    AnswerState,
    Comparison,
    ModelCard,
    ModelRole,
)
from distill_studio.core.records.preference import Preference
from distill_studio.core.records.seed import Seed
from distill_studio.core.records.suite import SuiteAnswer, SuiteScorer, Trial
from distill_studio.core.settings import Settings
from distill_studio.curate.filters import LengthConfig
from distill_studio.services import operations
from distill_studio.services.studio import Studio
from distill_studio.services.workspace import STORE_FILE, Workspace
from distill_studio.store import (
    benchmarks,
    decisions,
    evaluations,
    jobs,
    pairs,
    preferences,
    runs,
    seeds,
    suites,
)
from distill_studio.web.identity import Identity
from distill_studio.web.proxy import behind_proxies
from distill_studio.web.server import create_app
from tests.browser.bench_data import make_pairs
from tests.fake_hub_login import FakeHubLogin
from tests.space import space_environment
from tests.web.test_locked import all_routes

OWNER = Actor(user="owner", role=Role.OWNER)
TOKEN = "a-token-of-a-test"
EXPORT_URL = "/files/main/exports/pairs.jsonl"


@dataclass
class Served:
    """The app: over HTTP at `url`, and from inside."""

    studio: Studio
    identity: Identity
    app: Any
    url: str
    hub: FakeHubLogin
    sent: Path  # where Gradio keeps what is uploaded
    names: dict[str, Any] = field(default_factory=dict)  # of what is there, by argument
    files: list[str] = field(default_factory=list)

    @property
    def page(self) -> Any:
        """Gradio's Blocks."""
        mounted = [r.app for r in self.app.routes if hasattr(getattr(r, "app", None), "get_blocks")]
        return mounted[0].get_blocks()

    @property
    def workspace(self) -> Workspace:
        """The one that all is in."""
        return self.studio.workspace("main")

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
        for path in self.sent.rglob("*"):  # Gradio makes an empty file of each that an event names
            if path.is_file() and path.stat().st_size:
                found[f"sent {path.relative_to(self.sent)}"] = _digest(path.read_bytes())
        return found


@contextmanager
def whole_app(folder: Path, cache: Path) -> Iterator[Served]:
    """Serve it; `rea` is a reviewer and `vic` a viewer by the list, both sign in at the Hub."""
    hub = FakeHubLogin()
    with pytest.MonkeyPatch.context() as patch:
        env = space_environment(hub, DISTILL_STUDIO_REVIEWERS="rea", DISTILL_STUDIO_VIEWERS="vic")
        for name, value in (env | {"GRADIO_TEMP_DIR": str(folder / "sent")}).items():
            patch.setenv(name, value)
        settings = Settings(home=folder / "home", cache=cache, port=0)
        studio = build_studio(settings)
        identity = Identity(settings, TOKEN, studio.accounts)
        app = create_app(studio, identity, on_close=lambda: None)
        config = uvicorn.Config(
            behind_proxies(app, settings), host="127.0.0.1", port=0, log_level="critical",
            proxy_headers=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            thread.join(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        made = Served(studio, identity, app, f"http://127.0.0.1:{port}", hub, folder / "sent")
        _fill(made)
        yield made
        server.should_exit = True
        thread.join(30)
        studio.close()
    hub.close()


def _fill(served: Served) -> None:
    """Some of everything: rows, decisions, snapshots, runs, suites, files of each kind."""
    workspace = served.workspace
    made = _rows(workspace)
    _snapshots_and_runs(workspace)
    upload_id, path = served.studio.uploads.new_path("sums.jsonl")
    path.write_text('{"question": "What is 1 + 2?", "answer": "3"}\n')
    suite = workspace.suites.add(OWNER, upload_id, SuiteScorer.MATH, "sums")
    cards = (
        ModelCard(id="teacher:big", label="big", role=ModelRole.TEACHER),
        ModelCard(id="student:first-sft", label="first-sft", role=ModelRole.STUDENT),
    )
    trial = Trial(suite_id=suite.id, models=cards)
    suites.add_trial(workspace.db, trial)
    suites.add_answers(
        workspace.db,
        trial.id,
        [
            SuiteAnswer(model=c.id, number=0, answer="3", score=float(n))
            for n, c in enumerate(cards)
        ],
    )
    answers = tuple(Answer(card=c, text=c.label, state=AnswerState.DONE) for c in cards)
    comparison = Comparison(messages=made[0].messages, answers=answers, user="owner")
    evaluations.insert(workspace.db, comparison)
    benchmark = BenchmarkRun(
        model=cards[1], tasks=("arc_easy",), settings=BenchmarkSettings(), state=RunState.DONE
    )
    benchmarks.insert(workspace.db, benchmark)
    job = Job(kind="embed", title="Embed", state=JobState.FAILED, user="owner")
    jobs.insert(workspace.db, job)
    workspace.leaks.add(OWNER, upload_id, "bench")
    workspace.references.add(OWNER, upload_id, "other")
    workspace.pipelines.save(OWNER, "strict", [LengthConfig(min_words=2)])
    workspace.seeds.add(OWNER, "What else?")
    seed = workspace.seeds.page(OWNER)[0]
    served.studio.accounts.add("local", "reviewer", "owner", "correct horse battery")
    served.names = {
        "pair_id": made[0].id, "a": made[0].id, "b": made[2].id, "upload_id": upload_id,
        "upload_ids": [upload_id], "comparison_id": comparison.id, "job_id": job.id,
        "run_id": benchmark.id, "run": "first-sft", "run_name": "first-sft", "student": "first-sft",
        "snapshot": "first", "suite": suite.id, "trial_id": trial.id, "workspace": "main",
        "models": [c.id for c in cards], "judge": "big", "teacher": "big", "winner": cards[1].id,
        "recipe": "alpaca", "bulk_id": "bulk-1", "numbers": [0], "ids": [seed.id],
        "number": 1, "item": 0,
        "decisions": [{"id": "client-1", "pair_id": made[0].id, "kind": "reject"}],
        "of": {
            "distill": {"name": "first-sft"}, "freeze": {"name": "first"},
            "teachers": {"name": "big"},
            "leaks": {"name": "bench"}, "references": {"name": "other"}, "users": {"name": "local"},
            "pipelines": {"name": "strict"}, "export": {"name": "more.jsonl"},
            "hub": {"name": "first"},
            "freeze_create": {"name": "second"}, "export_snapshot": {"name": "first"},
            "leaks_add": {"name": "new"}, "references_add": {"name": "new"},
            "jobs_wait": {"timeout_s": 0.1},
        },
    }  # fmt: skip
    served.files = _files(served)


def _rows(workspace: Workspace) -> list[Any]:
    """Pairs of two answers each, decided and compared by others."""
    made = make_pairs(6, candidates=2)
    for pair in made[::2]:
        seeds.insert(workspace.db, [Seed(id=pair.seed_id, messages=pair.messages)])
    pairs.insert(workspace.db, made)
    accept = DecisionKind.ACCEPT
    told = [Decision(id=f"d-{pair.id}", pair_id=pair.id, kind=accept) for pair in made[:10:2]]
    decisions.record(workspace.db, "owner", told)
    liked = [
        Preference(
            seed_id=better.seed_id, chosen_pair_id=better.id, rejected_pair_id=worse.id,
            source="person", user="owner",
        )
        for better, worse in zip(made[:8:2], made[1:8:2], strict=True)
    ]  # fmt: skip
    preferences.insert(workspace.db, liked)
    return made


def _snapshots_and_runs(workspace: Workspace) -> None:
    workspace.freeze.create(OWNER, "first", validation_share=0.2)
    snapshot = workspace.freeze.get(OWNER, "first")
    folder = workspace.folder / "runs" / "first-sft"
    config = {
        "name": "first-sft",
        "method": "sft",
        "student": {"base_id": "smollm2-135m-instruct", "base_folder": "small"},
        "data": {"folder": str(workspace.freeze.folder("first")), "name": "first"},
    }
    for kind in ("model", "adapter"):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "config.json").write_text("{}")
        (folder / kind / f"{kind}.safetensors").write_bytes(b"weights")
    (folder / "run.json").write_text(json.dumps(config))
    runs.insert(
        workspace.db,
        Run(
            name="first-sft", method="sft", snapshot_id=snapshot.id, config=config,
            state=RunState.DONE,
        ),
    )  # fmt: skip


def _files(served: Served) -> list[str]:
    """URLs of files: one that may be read, and ways to those that may not."""
    exports = served.workspace.folder / "exports"
    (exports / "pairs.jsonl").write_text('{"a": 1}\n')
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as client:
        answer = client.post(
            "/gradio_api/upload",
            files={"files": ("sent.jsonl", b'{"prompt": "hidden"}\n')},
            headers={"authorization": f"Bearer {TOKEN}"},
        )
    assert answer.status_code == 200, answer.text
    served.names["sent"] = answer.json()[0]
    store, home = served.workspace.folder / STORE_FILE, served.studio.home
    hidden = [store, home / "people.sqlite", home / "secret.key", Path("/etc/passwd")]
    return [
        EXPORT_URL,
        *(f"/files/main/exports/{quote(f'../{name}', safe='')}" for name in (STORE_FILE, "runs")),
        *(
            f"{before}{quote(str(path))}"
            for before in ("/gradio_api/file=", "/file=", "/gradio_api/file/")
            for path in (answer.json()[0], *hidden)
        ),
    ]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
