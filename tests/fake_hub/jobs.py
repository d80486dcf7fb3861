"""The routes of Jobs. A Job is the real command as a process of this machine, in place of docker.

It gets what a container gets: the variables and secrets of the order, a folder of its own, and
nothing of the tests' environment but a PATH on which `python` and `hf` are this environment's.
Nothing is installed (`DISTILL_STUDIO_REMOTE_INSTALL=skip`, `start.py`).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fake_hub.repos import Refused

if TYPE_CHECKING:
    from tests.fake_hub.server import FakeHub

HARDWARE = (
    ("cpu-basic", "CPU Basic", "2 vCPU", "16 GB", None, 167),
    ("a10g-small", "Nvidia A10G - small", "4 vCPU", "15 GB", ("A10G", "1", "24 GB"), 16_667),
    ("a10g-largex2", "2x Nvidia A10G", "24 vCPU", "92 GB", ("A10G", "2", "48 GB"), 50_000),
)


@dataclass
class FakeJob:
    """A Job: its order as it was posted, and its process."""

    id: str
    namespace: str
    order: dict[str, Any]
    folder: Path
    stage: str = "SCHEDULING"
    message: str | None = None
    started: float = 0.0
    ended: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    lines: list[str] = field(default_factory=list)
    thread: threading.Thread | None = None

    def told(self) -> dict[str, Any]:
        """As the Hub tells it: `JobInfo`. Of secrets the names alone."""
        running = (self.ended or time.time()) - self.started if self.started else None
        return {
            "id": self.id,
            "createdAt": _now(),
            "dockerImage": self.order.get("dockerImage"),
            "command": self.order["command"],
            "arguments": self.order["arguments"],
            "environment": self.order["environment"],
            "secrets": dict.fromkeys(self.order.get("secrets", {}), ""),
            "flavor": self.order["flavor"],
            "labels": self.order.get("labels"),
            "status": {"stage": self.stage, "message": self.message},
            "durations": {"runningSecs": running and int(running), "totalSecs": 0},
            "owner": {"id": "1", "name": self.namespace, "type": "user"},
        }

    def run(self, environment: dict[str, str], longest_s: float) -> None:
        """The process, from start to end; the Hub's time limit holds, or the test's."""
        log = self.folder / "log"
        home = self.folder / "home"
        home.mkdir()
        here = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(home),
            "TMPDIR": str(self.folder),
            "DISTILL_STUDIO_REMOTE_INSTALL": "skip",
            "OMP_NUM_THREADS": "2",
        }
        given = {**here, **environment, **self.order["environment"], **self.order["secrets"]}
        self.stage, self.started = "RUNNING", time.time()
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                self.order["command"],
                cwd=self.folder,
                env=given,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                limit_s = min(longest_s, self.order.get("timeoutSeconds", 1800))
                code = self.process.wait(limit_s)
            except subprocess.TimeoutExpired:
                self.kill()
                code = None
        self.lines = log.read_text("utf-8", "replace").splitlines()
        self.ended = time.time()
        if self.stage == "CANCELED":
            return
        if code is None:
            self.message = "Job timeout"
        elif code:
            self.message = f"Job failed with exit code: {code}. Reason: Error"
        self.stage = "ERROR" if self.message else "COMPLETED"

    def kill(self) -> None:
        """End it and all below it, at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def forget(self) -> None:
        """End it and remove its folder."""
        self.kill()
        if self.thread is not None:
            self.thread.join(30)
        shutil.rmtree(self.folder, ignore_errors=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _allowed(hub: "FakeHub", request: Request, namespace: str) -> None:
    token = hub.token_of(request)
    if token is None:
        raise Refused(401, "Invalid username or password.")
    if token.role == "read" or not token.writes(namespace):
        raise Refused(403, "Forbidden: missing permissions: job.write")


def _job(hub: "FakeHub", request: Request, namespace: str, job_id: str) -> FakeJob:
    _allowed(hub, request, namespace)
    job = hub.jobs.get(job_id)
    if job is None or job.namespace != namespace:
        raise Refused(404, "Job not found")
    return job


async def harnesses(hub: "FakeHub", request: Request) -> Response:
    """Programs that drive the client, which `hf` looks up: `utils/_detect_agent.py`. None here."""
    return JSONResponse({"standardEnvVars": [], "harnesses": {}})


async def hardware(hub: "FakeHub", request: Request) -> Response:
    """What can be rented: `HfApi.list_jobs_hardware`, `JobHardwareInfo`."""
    hub.token_of(request)
    told = []
    for name, label, cpu, ram, gpu, micro in HARDWARE:
        accelerator = gpu and {
            "type": "gpu",
            "model": gpu[0],
            "quantity": gpu[1],
            "vram": gpu[2],
            "manufacturer": "Nvidia",
        }
        told.append({
            "name": name,
            "prettyName": label,
            "cpu": cpu,
            "ram": ram,
            "accelerator": accelerator,
            "unitCostMicroUSD": micro,
            "unitCostUSD": micro / 1e6,
            "unitLabel": "minute",
        })
    return JSONResponse(told)


async def start(hub: "FakeHub", request: Request, namespace: str) -> Response:
    """Run a command: `HfApi.run_job`, `_create_job_spec`."""
    _allowed(hub, request, namespace)
    if not hub.has_billing:
        raise Refused(402, "Payment required: pre-paid credits are needed to run Jobs")
    order = await request.json()
    order.setdefault("secrets", {})
    if order["flavor"] not in {one[0] for one in HARDWARE}:
        raise Refused(400, f"Invalid flavor: {order['flavor']}")
    job_id = f"{len(hub.jobs) + 1:024x}"
    folder = Path(tempfile.mkdtemp(prefix="fake-hub-job-"))
    job = hub.jobs[job_id] = FakeJob(job_id, namespace, order, folder)
    if hub.runs_jobs:
        own = {k: v for k, v in hub.environment().items() if k != "HF_ENDPOINT"}  # the order says
        environment = own | hub.job_environment
        given = (environment, hub.longest_job_s)
        job.thread = threading.Thread(target=job.run, args=given, daemon=True)
        job.thread.start()
    return JSONResponse(job.told())


async def listed(hub: "FakeHub", request: Request, namespace: str) -> Response:
    """Those with all the labels asked for: `HfApi.list_jobs`."""
    _allowed(hub, request, namespace)
    wanted = dict(one.split("=", 1) for one in request.query_params.getlist("label"))
    own = [job for job in hub.jobs.values() if job.namespace == namespace]
    found = [j for j in own if wanted.items() <= (j.order.get("labels") or {}).items()]
    return JSONResponse([job.told() for job in found])


async def look(hub: "FakeHub", request: Request, namespace: str, job_id: str) -> Response:
    """How it stands: `HfApi.inspect_job`."""
    return JSONResponse(_job(hub, request, namespace, job_id).told())


async def cancel(hub: "FakeHub", request: Request, namespace: str, job_id: str) -> Response:
    """End it: `HfApi.cancel_job`."""
    job = _job(hub, request, namespace, job_id)
    if job.stage in ("SCHEDULING", "RUNNING"):
        job.stage = "CANCELED"
        job.kill()
    return JSONResponse(job.told())


async def logs(hub: "FakeHub", request: Request, namespace: str, job_id: str) -> Response:
    """What it printed, as server-sent events: `HfApi.fetch_job_logs`."""
    job = _job(hub, request, namespace, job_id)
    then = "2026-01-01T00:00:00.000Z"  # the client leaves out what is newer than the answer
    lines = ["===== Job started at ... =====", *job.lines]
    tail = int(request.query_params.get("tail", len(lines)))
    told = [f"data: {json.dumps({'data': line, 'timestamp': then})}\n\n" for line in lines[-tail:]]
    return Response("".join(told), media_type="text/event-stream")
