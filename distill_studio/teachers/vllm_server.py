"""A vLLM server of our own: what starts it, how it is asked whether it is ready, what it says.

Start from `command`. vLLM lives in an environment of its own (`make vllm`); this module builds the
argument list and reads health and log, `services/servers.py` starts and stops the process.
"""

import socket
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import httpx2
from pydantic import Field

from distill_studio.core.errors import InvalidInput, Unavailable
from distill_studio.core.records import Record

_ROOT = Path(__file__).resolve().parents[2]
_OURS = ("--host", "--port", "--uds", "--model", "--served-model-name", "--revision", "--api-key")
_MAX_LOGPROBS = "--max-logprobs"
MAX_LOGPROBS = 256
_TAIL_BYTES = 64_000
_HEALTH_S = 2.0


class Dtype(StrEnum):
    """Number format of the weights."""

    AUTO = "auto"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class ServerOptions(Record):
    """What a server is started with."""

    model: str = Field(min_length=1, description="Starter model's id, model folder, or Hub id.")
    name: str = Field(default="", max_length=200, description="Of its teacher; '' = vLLM <model>.")
    revision: str = Field(default="", description="Hub revision; '' = the newest.")
    dtype: Dtype = Field(default=Dtype.AUTO, description="Number format of the weights.")
    max_length: int | None = Field(
        default=None, ge=16, description="Prompt plus answer, tokens; None = the model's own."
    )
    tensor_parallel: int = Field(default=1, ge=1, le=64, description="GPUs that share a layer.")
    data_parallel: int = Field(default=1, ge=1, le=64, description="Copies of the model.")
    kv_cache_gib: int = Field(default=2, ge=1, le=1024, description="Cache on a CPU, GiB.")
    concurrency: int = Field(default=32, ge=1, le=1024, description="Requests its teacher sends.")
    extra: tuple[str, ...] = Field(default=(), description="More arguments, one a list item.")
    keep_running: bool = Field(default=False, description="Leave it when the app stops.")

    @property
    def teacher(self) -> str:
        """Name of the server and of its teacher."""
        return self.name.strip() or f"vLLM {Path(self.model).name}"


def interpreter(chosen: Path | None) -> Path:
    """The Python of vLLM's environment.

    Raises:
        Unavailable: It is not installed.
    """
    python = chosen or _ROOT / ".venv-vllm" / "bin" / "python"
    if not python.is_file():
        raise Unavailable(
            f"vLLM is not installed: there is no {python}.",
            "Run make vllm, or set DISTILL_STUDIO_VLLM_PYTHON to a Python that has it.",
        )
    return python


def command(options: ServerOptions, *, python: Path, source: str, port: int) -> list[str]:
    """The argument list of the server, bound to this machine only.

    Args:
        options: As the user chose.
        python: See `interpreter`.
        source: The model's folder, or its Hub id where vLLM is to fetch a revision itself.
        port: To listen on.

    Raises:
        InvalidInput: An extra argument that is the app's own to set.
    """
    for argument in options.extra:
        if _named(argument) in _OURS:
            raise InvalidInput(
                f"{argument} is set by the app.", "Remove it from the extra arguments."
            )
    argv = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
    argv += ["--model", source, "--served-model-name", options.model]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--dtype", options.dtype.value]
    if options.revision:
        argv += ["--revision", options.revision]
    if options.max_length is not None:
        argv += ["--max-model-len", str(options.max_length)]
    if options.tensor_parallel > 1:
        argv += ["--tensor-parallel-size", str(options.tensor_parallel)]
    if options.data_parallel > 1:
        argv += ["--data-parallel-size", str(options.data_parallel)]
    if not any(_named(argument) == _MAX_LOGPROBS for argument in options.extra):
        argv += [_MAX_LOGPROBS, str(MAX_LOGPROBS)]  # a teacher's top-k; vLLM's own limit is 20
    return argv + list(options.extra)


def _named(argument: str) -> str:
    """The option that an argument names, as vLLM reads it."""
    return argument.split("=", 1)[0].replace("_", "-")


def environment(options: ServerOptions) -> Mapping[str, str]:
    """Variables of the server: no telemetry, and its cache where there is no GPU."""
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(options.kv_cache_gib),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
    }


def free_port() -> int:
    """A port of this machine that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def base_url(port: int) -> str:
    """Where such a server answers."""
    return f"http://127.0.0.1:{port}/v1"


def is_healthy(port: int) -> bool:
    """True once the server takes requests."""
    try:
        response = httpx2.get(f"http://127.0.0.1:{port}/health", timeout=_HEALTH_S, trust_env=False)
    except httpx2.HTTPError:
        return False  # not listening yet, or no longer
    return response.status_code == 200


def tail(log: Path, lines: int) -> str:
    """The last lines of a log; '' when there is none."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:])


def last_error(log: Path) -> str:
    """The last line of a log that names an error; '' when none does."""
    named = (line for line in reversed(tail(log, 400).splitlines()) if "Error: " in line)
    return next((line.strip()[-400:] for line in named), "")
