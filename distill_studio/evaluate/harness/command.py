"""What the harness's child process is told: its Python, its argument list, its `run.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from distill_studio.core.errors import InvalidInput, Unavailable
from distill_studio.core.records.base import Record
from distill_studio.core.records.benchmark import BenchmarkSettings, ServerApi
from distill_studio.core.records.teacher import TeacherConfig

RUN_FILE, EVENTS_FILE, RESULTS_FILE = "run.json", "events.jsonl", "results.json"
LOG_FILE = "stdout.log"
KEY_VARIABLE = "OPENAI_API_KEY"  # where the harness looks for it
_ROOT = Path(__file__).resolve().parents[3]
_WORKER = Path(__file__).with_name("worker.py")

Backend = Literal["hf", "local-completions", "local-chat-completions"]


class HarnessRun(Record):
    """`run.json`: all that the child knows. Holds no key."""

    backend: Backend = Field(description="The harness's name for how the model is reached.")
    model_args: dict[str, Any] = Field(description="Of that backend.")
    weights: list[str] = Field(default=[], description="Folders whose contents are hashed.")
    tasks: list[str] = Field(description="Names of tasks or groups.")
    own_tasks: str = Field(default="", description="Folder of the user's task files; '' for none.")
    limit: int = Field(default=0, description="First questions of each task; 0: all.")
    shots: int | None = Field(default=None, description="None: the task's own.")
    chat_template: bool = Field(description="Ask as a chat.")
    seed: int = Field(description="Of everything that is drawn.")
    batch_size: int = Field(description="Rows at once.")
    device: str | None = Field(default=None, description="cpu, cuda or mps.")
    is_guarded: bool = Field(default=False, description="Private addresses are not reached.")
    allow_hosts: list[str] = Field(default=[], description="Reached all the same, see `Reach`.")
    own_ports: list[int] = Field(default=[], description="Of servers that the app started.")


def interpreter(chosen: Path | None) -> Path:
    """The Python of the harness's environment.

    Raises:
        Unavailable: It is not installed.
    """
    python = chosen or _ROOT / ".venv-lm-eval" / "bin" / "python"
    if not python.is_file():
        raise Unavailable(
            f"lm-evaluation-harness is not installed: there is no {python}.",
            "Run make lm-eval, or set DISTILL_STUDIO_LM_EVAL_PYTHON to a Python that has it.",
        )
    return python


def worker_argv(python: Path, folder: Path) -> list[str]:
    """The argument list of the child; isolated, so that no folder lends it modules."""
    return [str(python), "-I", "-u", str(_WORKER), str(folder)]


def environment(key: str) -> Mapping[str, str]:
    """Variables of the child: no telemetry, the key of a teacher."""
    return {
        KEY_VARIABLE: key,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_TRUST_REMOTE_CODE": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }


def local_run(
    folder: Path,
    base: Path | None,
    tasks: list[str],
    settings: BenchmarkSettings,
    *,
    device: str,
    dtype: str,
    own_tasks: str,
) -> HarnessRun:
    """A model of this machine.

    Args:
        folder: A whole model, or an adapter.
        base: What the adapter in `folder` stands on; None for a whole model.
        tasks: Names.
        settings: How.
        device: cpu, cuda or mps.
        dtype: float32 or bfloat16; the same for all models, or their scores could not be compared.
        own_tasks: Folder of task files, or ''.
    """
    model: dict[str, Any] = {"dtype": dtype, "trust_remote_code": False}
    model["pretrained"] = str(base or folder)
    if base:  # an adapter comes with the tokenizer and the template that it was trained with
        model |= {"peft": str(folder), "tokenizer": str(folder)}
    weights = [str(folder)] + ([str(base)] if base else [])
    return _run("hf", model, tasks, settings, own_tasks, weights=weights, device=device)


def server_run(
    teacher: TeacherConfig,
    tokenizer: Path | None,
    tasks: list[str],
    settings: BenchmarkSettings,
    *,
    own_tasks: str,
) -> HarnessRun:
    """A teacher behind a URL. The harness asks it itself, so only what it can keep is taken.

    Args:
        teacher: Whom to ask.
        tokenizer: A folder with its tokenizer; None where it is not on this machine.
        tasks: Names.
        settings: How.
        own_tasks: Folder of task files, or ''.

    Raises:
        InvalidInput: The teacher has limits that the harness would not keep, or is to be asked as
            a chat without being one.
    """
    if teacher.spend_limit_usd or teacher.requests_per_min or teacher.tokens_per_min:
        raise InvalidInput(
            f"{teacher.name} has a limit on spending or pace, and lm-evaluation-harness does not"
            " keep it.",
            "Score it on a suite, which does, or save it under another name without the limit.",
        )
    is_chat = settings.api is ServerApi.CHAT
    if is_chat and not settings.chat_template:
        raise InvalidInput(
            "A chat server is asked in chat turns.", "Tick the chat template, or use completions."
        )
    model: dict[str, Any] = {
        "model": teacher.model,
        "base_url": f"{teacher.base_url}/{'chat/completions' if is_chat else 'completions'}",
        "num_concurrent": teacher.concurrency,
        "max_retries": max(1, teacher.max_retries),
        "timeout": round(teacher.timeout_s),
        "seed": settings.seed,
    }
    if not is_chat:
        model |= _tokenizer(tokenizer)
    one_by_one = settings.model_copy(update={"batch": 1})
    backend: Backend = "local-chat-completions" if is_chat else "local-completions"
    return _run(backend, model, tasks, one_by_one, own_tasks)


def _tokenizer(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {}  # the harness asks the server, then the Hub
    return {"tokenizer": str(folder), "tokenizer_backend": "huggingface"}


def _run(
    backend: Backend,
    model: dict[str, Any],
    tasks: list[str],
    settings: BenchmarkSettings,
    own_tasks: str,
    **more: Any,  # noqa: ANN401
) -> HarnessRun:
    return HarnessRun(
        backend=backend,
        model_args=model,
        tasks=tasks,
        own_tasks=own_tasks,
        limit=settings.limit,
        shots=settings.shots,
        chat_template=settings.chat_template,
        seed=settings.seed,
        batch_size=settings.batch,
        **more,
    )
