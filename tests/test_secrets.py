"""Planted secrets, a whole pass, then a search: no file and no answer of the app holds one.

The servers echo the key that they were sent, in failures of every kind. `server.json` (the command
line's token) is the one file that may hold a secret.
"""

import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psutil
import pyarrow.parquet as pq
import pytest

from tests.conftest import RunningApp, StartApp
from tests.stub_openai import Answer, StubServer, echo, failure
from tests.tiny_model import WORDS, build_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ENV_KEY = "sk-env-Zx81QqPlantedInTheEnvironment"
SESSION_KEY = "sk-ses-Wm42VvPlantedInTheSession"
LATER_KEY = "sk-new-Kt77RrGivenAfterARefusal"
SECRETS = {
    "DISTILL_STUDIO_PASSWORD": "pw-Hj93LlPlantedPassword",
    "HF_TOKEN": "hf_PlantedHubTokenAbCdEfGhIj",
    "OAUTH_CLIENT_SECRET": "oauth-Bn55GgPlantedClientSecret",
    "PLANTED_KEY": ENV_KEY,
}
PLANTED = {**SECRETS, "the session's key": SESSION_KEY, "the later key": LATER_KEY}


def echoing(key: str) -> Any:
    """A server that quotes the key in whatever goes wrong; what goes wrong stands in the prompt."""

    def behave(body: dict[str, Any]) -> Answer:
        said = f"Invalid header 'Authorization: Bearer {key}' of {key}"
        prompt = str(body["messages"][-1]["content"])
        kind = re.search(r"FAIL (\w+)", prompt)
        if kind is None:
            return echo(body)
        if kind[1].isdigit():
            return failure(int(kind[1]), said, param=key, code=key)
        return {
            "html": Answer(f"<html>{said}</html>".encode()),
            "odd": Answer({"choices": said}),
            "half": Answer(json.dumps({"error": said}).encode(), hangs_up=True),
        }[kind[1]]

    return behave


@pytest.fixture
def servers() -> Iterator[dict[str, StubServer]]:
    both = {"env": StubServer(echoing(ENV_KEY)), "session": StubServer(echoing(SESSION_KEY))}
    yield both
    for server in both.values():
        server.close()


class Pass:
    """Calls the app and keeps every answer, for the search."""

    def __init__(self, app: RunningApp) -> None:
        self.app = app
        self.answers: dict[str, bytes] = {}
        token = app.server_file["token"]
        self.client = httpx.Client(
            base_url=app.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=300,
            trust_env=False,
        )

    def keep(self, what: str, response: httpx.Response) -> httpx.Response:
        said = response.content + repr(response.headers.raw).encode()
        self.answers[f"{len(self.answers)} {what}"] = said
        return response

    def ask(self, operation: str, **arguments: Any) -> httpx.Response:
        return self.keep(operation, self.client.post(f"/api/main/{operation}", json=arguments))

    def call(self, operation: str, **arguments: Any) -> Any:
        response = self.ask(operation, **arguments)
        assert response.status_code == 200, f"{operation}: {response.text}"
        return response.json()

    def job(self, operation: str, **arguments: Any) -> dict[str, Any]:
        job = self.call(operation, **arguments)
        ended = self.call("jobs_wait", job_id=job["id"], timeout_s=300)
        self.call("jobs_events", job_id=job["id"])
        return ended

    def get(self, path: str) -> httpx.Response:
        return self.keep(path, self.client.get(path))


def test_no_secret_is_written_or_shown(
    start_app: StartApp, servers: dict[str, StubServer], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    app = start_app(home, dict(SECRETS))
    done = Pass(app)
    _import(done)
    _teachers(done, servers)
    _generate(done)
    _curate_and_review(done)
    command_lines = _freeze_train_export(done, str(build_tiny_model(tmp_path / "tiny")))
    _look_around(done)
    _log_in_wrongly(done)

    seen = {key for s in servers.values() for h in s.headers for key in [h.get("authorization")]}
    assert {f"Bearer {ENV_KEY}", f"Bearer {SESSION_KEY}"} <= seen, "the keys were used at all"
    server_json = (home / "server.json").read_text(encoding="utf-8")
    token = app.server_file["token"]
    app.stop()
    planted = {**PLANTED, "server.json's token": token}
    found = {
        f"{name} in the answer to {what}"
        for what, said in done.answers.items()
        for name, secret in planted.items()
        if secret.encode() in said
    }
    for line in command_lines:
        found |= {f"{n} in the command {line[:80]}" for n, s in planted.items() if s in line}
    places = dict(_texts(home))
    for place, text in places.items():
        found |= {f"{n} in {place}" for n, s in planted.items() if s.encode() in text}
    assert found == set()
    assert token in server_json
    assert {"HF_TOKEN", "PLANTED_KEY"}.isdisjoint(server_json.split('"'))
    _is_a_search_that_finds(places)


# -- the pass ---------------------------------------------------------------------------------


def _import(done: Pass) -> None:
    kinds = ("401", "403", "400", "404", "422", "429", "500", "html", "odd", "half")
    rows = [{"prompt": f"say {word} {n}"} for n, word in enumerate(WORDS)]
    rows += [{"prompt": f"FAIL {kind}"} for kind in kinds]
    lines = "\n".join(json.dumps(row) for row in rows)
    response = done.client.post("/api/uploads?name=rows.jsonl", content=lines.encode())
    upload_id = done.keep("upload", response).json()["upload_id"]
    done.call("seeds_preview", upload_id=upload_id)
    done.call("seeds_import_file", upload_id=upload_id)
    broken = done.client.post("/api/uploads?name=x.jsonl", content=b'{"prompt": ')
    done.ask("seeds_import_file", upload_id=broken.json()["upload_id"])


def _teachers(done: Pass, servers: dict[str, StubServer]) -> None:
    common = {"kind": "openai", "model": "stub-1", "max_retries": 0, "timeout_s": 10}
    env = common | {"name": "env", "base_url": servers["env"].url, "key_env": "PLANTED_KEY"}
    session = common | {"name": "session", "base_url": servers["session"].url}
    done.call("teachers_save", teacher=env)
    done.call("teachers_save", teacher=session, session_key=SESSION_KEY)
    for name in ("env", "session"):
        done.call("teachers_test", name=name)
    done.call("teachers_models", base_url=servers["session"].url, session_key=SESSION_KEY)
    # What people do wrong with keys: in the place of a name, of an address, of a model.
    done.ask("teachers_save", teacher=env | {"name": "x", "key_env": SESSION_KEY})
    done.ask("teachers_save", teacher=env | {"name": "x", "key_env": "DISTILL_STUDIO_PASSWORD"})
    url = f"http://me:{SESSION_KEY}@127.0.0.1:1/v1"
    done.ask("teachers_save", teacher=env | {"name": "x", "base_url": url})
    done.ask("teachers_models", base_url=f"http://127.0.0.1:1/v1?key={SESSION_KEY}")
    done.ask("teachers_test", teacher=session | {"name": "y"}, session_key=SESSION_KEY)
    done.ask("teachers_key", name="nobody", session_key=LATER_KEY)


def _generate(done: Pass) -> None:
    for name in ("env", "session"):
        for search in ("say", *(f"FAIL {k}" for k in ("4", "5", "h", "o"))):
            seeds = {"search": search, "only_unanswered": False}
            done.job("generate_start", wish={"teachers": [name], "seeds": seeds})
        failing = {"teachers": [name], "seeds": {"search": "FAIL 500"}}
        failing["seeds"]["only_unanswered"] = False
        done.job("generate_try_out", wish=failing)
    jobs = done.call("generate_jobs")
    assert any(job["state"] == "failed" for job in done.call("jobs_page")), jobs
    for job in done.call("jobs_page", limit=100):
        done.ask("generate_failures", job_id=job["id"])
    models = ["teacher:env", "teacher:session"]
    made = done.call("evaluate_compare", models=models, prompt="FAIL 500")
    while True:
        asked = done.call("evaluate_get", comparison_id=made["id"])
        if all(answer["state"] not in ("waiting", "writing") for answer in asked["answers"]):
            break
        time.sleep(0.2)
    assert all(answer["state"] == "failed" for answer in asked["answers"]), asked


def _curate_and_review(done: Pass) -> None:
    done.job("curate_dedup")
    done.call("curate_apply", filters=[], threshold=1.0)
    done.call("review_bulk", query={}, kind="accept", bulk_id="bulk-0001")
    done.call("review_page", query={})


def _freeze_train_export(done: Pass, student: str) -> list[str]:
    """Returns the command lines of the app's children while a training runs."""
    done.call("freeze_create", name="snap", format="prompt_completion", validation_share=0.2)
    spec = {
        "snapshot": "snap", "student": student, "name": "run", "max_steps": 3, "max_length": 128,
        "eval_every": 3, "save_every": 2, "dtype": "fp32", "weights": "full",
    }  # fmt: skip
    done.call("distill_preflight", spec=spec)
    done.call("distill_start", spec=spec)
    lines: list[str] = []
    while done.call("distill_get", name="run")["state"] in ("queued", "running", "waiting"):
        children = psutil.Process(done.app.process.pid).children(recursive=True)
        for child in children:
            try:
                lines.append(" ".join(child.cmdline()))
            except psutil.Error:
                continue
        time.sleep(0.3)
    assert done.call("distill_get", name="run")["state"] == "done"
    assert any("distill_studio.distill" in line for line in lines)
    for operation in ("distill_log", "distill_events", "distill_command"):
        done.call(operation, name="run")
    made = [
        done.call("export_pairs"),
        done.call("export_snapshot", name="snap"),
        done.call("export_student", run="run"),
    ]
    assert made
    for file in done.call("export_page"):
        done.get(f"/files/main/exports/{file['name']}")
    done.call("report_text")
    return lines


def _look_around(done: Pass) -> None:
    for path in (
        *("/", "/config", "/openapi.json", "/docs", "/api/operations", "/api/status", "/nowhere"),
        *("/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/startup-events"),
        *("/gradio_api/file=/proc/self/environ", "/gradio_api/file=server.json"),
        *("/files/main/exports/..%2f..%2fserver.json", "/login", "/gradio_api/heartbeat/x"),
    ):  # fmt: skip
        with done.client.stream("GET", path) as response:
            body = b"".join(response.iter_bytes()) if "heartbeat" not in path else b""
        done.answers[f"{len(done.answers)} {path}"] = body + repr(response.headers.raw).encode()
    for name in ("overview_counts", "teachers_page", "jobs_page", "servers_page", "lineage_model"):
        done.ask(name)
    done.ask("no_such_operation")
    done.keep("garbage", done.client.post("/api/main/teachers_save", content=b"{"))
    done.ask("teachers_save", teacher={"session_key": SESSION_KEY})
    done.ask("teachers_save", teacher="x", session_key=SESSION_KEY)
    done.ask("teachers_save", teacher={}, session_key=[SESSION_KEY])


def _log_in_wrongly(done: Pass) -> None:
    password = SECRETS["DISTILL_STUDIO_PASSWORD"]
    with httpx.Client(base_url=done.app.url, timeout=60, trust_env=False) as stranger:
        for data in ({"user": "owner", "password": password + "x"}, {"password": "no"}):
            done.keep("a wrong log-in", stranger.post("/login", data=data))
        right = stranger.post("/login", data={"user": "owner", "password": password})
        done.keep("the log-in", right)
        done.keep("the page", stranger.get("/", headers={"accept": "text/html"}))


# -- the search -------------------------------------------------------------------------------


def _texts(home: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below the data folder but server.json; what is packed is unpacked."""
    for path in sorted(home.rglob("*")):
        if not path.is_file() or path.name == "server.json":
            continue
        name = path.relative_to(home).as_posix()
        yield name, path.read_bytes()
        if path.suffix == ".duckdb":
            yield from _tables(path, name)
        elif path.suffix == ".parquet":
            yield (
                f"{name} (rows)",
                json.dumps(pq.read_table(path).to_pylist(), default=str).encode(),
            )
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    content = archive.read(member)
                    yield f"{name}/{member}", content
                    if member.endswith(".parquet"):
                        rows = pq.read_table(io.BytesIO(content)).to_pylist()
                        yield f"{name}/{member} (rows)", json.dumps(rows, default=str).encode()


def _tables(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Each table as text: the file itself is compressed."""
    with duckdb.connect(str(path), read_only=True) as connection:
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
            yield f"{name}/{table}", repr(rows).encode()


def _is_a_search_that_finds(places: dict[str, bytes]) -> None:
    """What must be there is found: in the database's tables, an export and a run's files."""
    assert b"Answer to: say red" in places["workspaces/main/studio.duckdb/pairs"]
    refused = places["workspaces/main/studio.duckdb/failures"]
    assert b"[key]" in refused, "the servers' words are stored, the key in them is not"
    assert any(".zip/" in place and place.endswith("train.parquet (rows)") for place in places)
    assert any("/runs/run" in place and place.endswith("events.jsonl") for place in places)
    assert "app.log" in places
