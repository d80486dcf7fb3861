"""The stored signal of a teacher behind a vLLM server: captured, then checked. `served_cache`."""

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import torch

from distill_studio.core.errors import InvalidInput, TeacherUnreachable
from distill_studio.distill.config import LogitRun
from distill_studio.distill.data import Encoded
from distill_studio.distill.estimate import model_facts
from distill_studio.distill.server_checks import key_of, server_findings
from distill_studio.distill.signals.base import CacheMismatch, SignalKey, count_parts, part_path
from distill_studio.distill.signals.cached import CachedTeacher
from distill_studio.distill.signals.capture import AnyTeacher
from distill_studio.distill.signals.served import ask_again, capture_served
from distill_studio.distill.trainers.setup import Setup
from distill_studio.teachers.prompt_logprobs import PromptScorer

_SAMPLE = 4
_SAY_EVERY_S = 5.0
_MOST_MEMORY = 0.7  # of what is free, for a teacher that is loaded to compare


def served_cache(
    setup: Setup,
    config: LogitRun,
    rows: Sequence[Encoded],
    key: SignalKey,
    folder: Path,
    load_teacher: Callable[[], AnyTeacher] | None,
) -> CachedTeacher:
    """The whole store of a run's server, what is missing captured first, a sample asked again.

    Args:
        setup: Of the run.
        config: Its choices; the teacher has a server.
        rows: As the trainer will see them.
        key: Of the store.
        folder: Of the store.
        load_teacher: Loads the same model into this process; None where its files are elsewhere.

    Raises:
        InvalidInput: The server cannot teach this student; with the way out.
        TeacherError: It failed for good; what it told is kept.
        CacheMismatch: It says something else now than what is stored, or than its files say.
    """
    setup.ranks.first_then_others(lambda: _complete(setup, config, rows, key, folder))
    cache = CachedTeacher.open(folder, key, len(rows))
    if not setup.ranks.is_first:
        return cache
    covered = cache.covered()
    setup.say(
        f"Stored signal, told by {config.teacher.id}: the top {key.k} cover"
        f" {100 * covered:.1f} % of the teacher's probability.",
        covered=covered,
    )
    _ask_again(setup, config, rows, cache)
    if load_teacher is not None:
        _compare(setup, config, rows, cache, load_teacher)
    return cache


def _complete(
    setup: Setup, config: LogitRun, rows: Sequence[Encoded], key: SignalKey, folder: Path
) -> None:
    """Capture the parts that are missing."""
    if all(part_path(folder, part).exists() for part in range(count_parts(len(rows)))):
        return
    server = config.teacher.server
    assert server is not None
    for finding in server_findings(config, key_of(server)):
        if finding.level == "error":
            raise InvalidInput(finding.message, finding.hint)
    said_at = 0.0

    def progress(done: int, of: int) -> None:
        nonlocal said_at
        if done < of and time.monotonic() - said_at > _SAY_EVERY_S:
            said_at = time.monotonic()
            setup.say(f"{server.name} reads the rows once: {done} of {of}.")

    scorer = PromptScorer(server, key_of(server))
    capture_served(scorer, rows, folder, key, progress=progress, check_stop=setup.check_stop)


def _ask_again(
    setup: Setup, config: LogitRun, rows: Sequence[Encoded], cache: CachedTeacher
) -> None:
    server = config.teacher.server
    assert server is not None
    try:
        worst, unlike = ask_again(
            PromptScorer(server, key_of(server)), cache, rows, _SAMPLE, config.seed
        )
    except TeacherUnreachable as err:
        setup.say(f"The whole signal is stored; the server was not asked again. {err.user_message}")
        return
    if unlike is not None:
        raise CacheMismatch(
            f"{server.name} says something else of row {unlike} than what is stored of it.",
            "It serves another model now, or the stored signal is damaged: delete its folder in"
            " teacher-cache and capture anew.",
        )
    setup.say(
        f"Asked again about {min(_SAMPLE, len(rows))} rows, the server differs by {worst:.4f} nats."
    )


def _compare(
    setup: Setup,
    config: LogitRun,
    rows: Sequence[Encoded],
    cache: CachedTeacher,
    load_teacher: Callable[[], AnyTeacher],
) -> None:
    """Score a sample with the same model in this process, where there is room for it."""
    needed, free = _teacher_bytes(setup, config), _free_bytes(setup.device)
    if needed > _MOST_MEMORY * free:
        setup.say(
            f"The teacher itself is not loaded to compare: it needs {needed / 2**30:.1f} GiB,"
            f" {free / 2**30:.1f} are free."
        )
        return
    teacher = load_teacher()
    try:
        worst = cache.verify(teacher, rows, sample=_SAMPLE, seed=config.seed)
    except CacheMismatch as err:
        raise CacheMismatch(
            f"{config.teacher.id} says something else than the same model in this process."
            f" {err.user_message}",
            "Its server has another revision of it, or a quantised copy. Serve the files that are"
            " here, or serve it under another name: then it counts as a model of its own. Delete"
            " the stored signal in teacher-cache where its files have changed since.",
        ) from err
    finally:
        del teacher
        gc.collect()  # its memory is the student's now
    setup.say(
        f"The same model in this process differs from its server by {worst:.4f} nats"
        f" on {min(_SAMPLE, len(rows))} rows."
    )


def _teacher_bytes(setup: Setup, config: LogitRun) -> float:
    facts = model_facts(Path(config.teacher.folder))
    return facts.parameters * (2.0 if setup.is_bf16 else 4.0)


def _free_bytes(device: str) -> float:
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)
