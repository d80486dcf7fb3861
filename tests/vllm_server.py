"""A workspace with a real vLLM server of `.venv-vllm` behind its teacher `real`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.records import JobState
from distill_studio.core.settings import Settings
from distill_studio.services.workspace import Workspace
from distill_studio.teachers.vllm_server import ServerOptions

MODEL = "smollm2-135m-instruct"
VLLM = Path(__file__).parents[1] / ".venv-vllm" / "bin" / "python"
OWNER = Actor(user="owner", role=Role.OWNER)
START_LIMIT_S = 1500.0


@contextmanager
def served_workspace(home: Path, cache: Path, **options: object) -> Iterator[Workspace]:
    """Start the server with these `ServerOptions` and wait for it; skips where vLLM is not there.

    It does not compile its kernels: what it says is tested, not how fast.
    """
    if not VLLM.exists():
        pytest.skip("vLLM is not installed: make vllm")
    extra = ("--enforce-eager", *options.pop("extra", ()))
    studio = build_studio(Settings(home=home, cache=cache))
    workspace = studio.workspace("main")
    try:
        wanted = ServerOptions(model=MODEL, name="real", extra=extra, **options)
        job = workspace.servers.start(OWNER, wanted)
        ended = workspace.jobs.wait(OWNER, job.id, timeout_s=START_LIMIT_S)
        assert ended.state is JobState.DONE, ended.error
        yield workspace
    finally:
        studio.close()
