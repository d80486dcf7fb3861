"""Pre-flight of a teacher behind a vLLM server: the server is asked. Torch-free.

`server_findings` is called by the page before a start, and by the worker before it captures.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from distill_studio.core.errors import TeacherError, TeacherUnreachable
from distill_studio.core.reach import Reach
from distill_studio.core.records import TeacherConfig as ServerConfig
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import LogitRun, RunConfig
from distill_studio.distill.findings import Finding
from distill_studio.distill.pairing import PROBES, WAY_OUT, used_ids
from distill_studio.distill.signals.base import KEY_FILE, SignalKey, teacher_fingerprint
from distill_studio.teachers.prompt_logprobs import PromptScorer

KEY_VARIABLE = "DISTILL_STUDIO_TEACHER_KEY"  # by which the app hands a key to the worker
ROOM = 1  # tokens that vLLM insists on writing
_TIMEOUT_S = 60.0


def key_of(server: ServerConfig, environment: Mapping[str, str] = os.environ) -> str:
    """The key for a server from the worker's environment; '' for none."""
    named = environment.get(server.key_env, "") if server.key_env else ""
    return (environment.get(KEY_VARIABLE, "") or named).strip()


def server_findings(config: RunConfig, api_key: str, reach: Reach | None = None) -> list[Finding]:
    """What the server of a run says to it; nothing where the run has none.

    Args:
        config: Of the run.
        api_key: Of its server.
        reach: Where the connection may lead; by default where this process was told.
    """
    if not isinstance(config, LogitRun) or config.teacher.server is None:
        return []
    chat = ChatTokenizer.load(Path(config.student.base_folder))
    server = config.teacher.server
    k = min(config.top_k, used_ids(chat))
    try:
        context, unlike = asyncio.run(_asked(server, api_key, chat, k, reach))
    except TeacherUnreachable as err:
        return [_error("server_unreachable", err.user_message, err.hint)]
    except TeacherError as err:
        return [_error("server", err.user_message, err.hint)]
    if unlike:
        return [_error("teacher", f"{server.name} and the student {unlike}", WAY_OUT)]
    if context and config.max_length + ROOM > context:
        return [
            _error(
                "over_context",
                f"{server.name} reads at most {context} tokens and wants room for one more.",
                f"Set the longest length to {context - ROOM} or less.",
            )
        ]
    return [_info(config, server, k)]


async def _asked(
    server: ServerConfig, api_key: str, chat: ChatTokenizer, k: int, reach: Reach | None
) -> tuple[int, str]:
    """The tokens that it takes; how its tokenizer differs from the student's ('': not)."""
    brief = {"max_retries": 0, "timeout_s": min(server.timeout_s, _TIMEOUT_S)}
    scorer = PromptScorer(server.model_copy(update=brief), api_key, reach=reach)
    texts = list(PROBES)
    if chat.has_template:
        texts.append(chat.render([{"role": "user", "content": PROBES[0]}], answer_next=True))
    try:
        context = await scorer.context()
        for text in texts:
            theirs, ours = await scorer.ids_of(text, k), chat.encode(text)
            if theirs != ours:
                return context, (
                    f"cut text into different tokens ({len(theirs)} and {len(ours)} of the same"
                    " text). Their logits cannot be compared token by token."
                )
    finally:
        await scorer.aclose()
    return context, ""


def stored_finding(config: LogitRun, why: Finding) -> Finding | None:
    """A warning instead of `why` where something is stored that may do without the server."""
    server = config.teacher.server
    folder = Path(config.cache_folder)
    if server is None or not config.cache_folder or not folder.is_dir():
        return None
    for file in folder.glob(f"*/{KEY_FILE}"):
        try:
            key = SignalKey.model_validate_json(file.read_bytes())
        except ValidationError:
            continue  # a write cut short by a full disk
        if key.source == "vllm" and key.teacher == teacher_fingerprint(config.teacher):
            return Finding(
                level="warning",
                code=why.code,
                message=why.message,
                hint="What is stored of it serves if the rows are the same; else the run fails.",
            )
    return None


def _info(config: LogitRun, server: ServerConfig, k: int) -> Finding:
    checked = (
        ", and the same model in this process too if memory allows"
        if config.teacher.folder
        else "; the model's own files are not on this machine"
    )
    return Finding(
        level="info",
        code="server",
        message=f"{server.name} (vLLM, {server.base_url}) reads the rows, {server.concurrency} at a"
        f" time, and tells the top {k} of each token at temperature 1. Afterwards it is asked again"
        f" about some rows{checked}.",
        hint="It must run until the rows are read; a run that stops before goes on with the rest.",
    )


def _error(code: str, message: str, hint: str) -> Finding:
    return Finding(level="error", code=code, message=message, hint=hint)
