"""Why a training could not go on, in the user's words: `explain(err, folder)`. Torch-free.

Also the room for saying so: `make_reserve` sets a little disk aside; when the disk is full,
`give_way` frees that, and what a checkpoint cut short takes.
"""

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from distill_studio.core.errors import StudioError
from distill_studio.distill.events import Failed

RESERVE_FILE = "reserve.bin"
NO_GPU_MEMORY = "The GPU's memory was not enough."
NO_MEMORY = "The memory was not enough."
DISK_FULL = "The disk is full."
LIGHTER = (
    "Resume with half the batch: the updates stay the same, in twice as many passes. Or start"
    " anew with a lower longest length, LoRA or a smaller student."
)
LIGHTER_KTO = (
    "Resume with half the batch: each update learns from the same answers, in twice as many passes."
    " KTO compares the answers of a batch with each other, so its updates come out a little"
    " otherwise. Or start anew with a lower longest length, LoRA or a smaller student."
)
NO_NUMBER = "is no longer a number"
ANOTHER_RATE = (
    "Resumed, it would make the same updates. Press Use these settings again (in a shell: train"
    " --like RUN), lower the learning rate or compute in fp32, and start it as a new run."
)
_RESERVE_BYTES = 64 * 1024
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_SPACE_WORDS = ("no space left on device", "disk quota exceeded", "(os error 28)")
# How torch.save tells that a write came up short: it has no error number.
_SHORT_WRITE_WORDS = ("pytorchstreamwriter failed", "inline_container.cc")
_NO_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory")


def explain(err: BaseException, folder: Path | None = None, method: str = "") -> Failed:
    """A failure in the user's words.

    Args:
        err: What was raised.
        folder: Of the run; where torch says only that a write failed, its disk is looked at.
        method: Of the run, where it is known.
    """
    lighter = LIGHTER_KTO if method == "kto" else LIGHTER
    chain = list(_chain(err))
    for one in chain:
        if isinstance(one, StudioError):
            return Failed(message=one.user_message, hint=one.hint)
    if any(_is_disk_full(one, folder) for one in chain):
        hint = "Free some space, then resume: it goes on from the last whole checkpoint."
        return Failed(message=DISK_FULL, hint=hint)
    for one in chain:
        text = str(one).lower()
        if _is_gpu_memory(one, text):
            return Failed(message=NO_GPU_MEMORY, hint=lighter)
        if isinstance(one, MemoryError) or any(words in text for words in _NO_MEMORY_WORDS):
            return Failed(message=NO_MEMORY, hint=lighter)
    return Failed(
        message=f"{type(err).__name__}: {str(err)[:500]}",
        hint="The log of this run shows where it happened.",
    )


def is_memory_short(error: str) -> bool:
    """True for the stored error of a run that a smaller batch may help."""
    return error.startswith((NO_GPU_MEMORY, NO_MEMORY))


def is_diverged(error: str) -> bool:
    """True for the stored error of a run that would come to the same end when resumed."""
    return f" {NO_NUMBER} at update " in error


def make_reserve(folder: Path) -> None:
    """Set some disk aside, so that a full disk can still be told."""
    path = folder / RESERVE_FILE
    if not path.exists():
        path.write_bytes(b"\0" * _RESERVE_BYTES)


def drop_reserve(folder: Path) -> None:
    """Give the reserve back."""
    (folder / RESERVE_FILE).unlink(missing_ok=True)


def give_way(folder: Path) -> None:
    """Free what is of no use after a write that failed: cut checkpoints, half a model, the reserve.

    The last whole checkpoint stays.
    """
    for path in (folder / "checkpoints").glob("checkpoint-*"):
        if not is_whole(path):
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob("*.unfinished"):
        shutil.rmtree(path, ignore_errors=True)
    drop_reserve(folder)


def is_whole(checkpoint: Path) -> bool:
    """True for a checkpoint whose writing was not cut short: its state is written last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def is_disk_full(folder: Path) -> bool:
    """True when hardly anything more can be written there."""
    try:
        return shutil.disk_usage(folder).free < 2 * _RESERVE_BYTES
    except OSError:
        return False  # no folder: some other trouble


def _chain(err: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from or while handling; a Failed disk may hide there."""
    seen: set[int] = set()
    one: BaseException | None = err
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _is_disk_full(err: BaseException, folder: Path | None) -> bool:
    if isinstance(err, OSError) and err.errno in _NO_SPACE:
        return True
    text = str(err).lower()
    if any(words in text for words in _NO_SPACE_WORDS):
        return True
    is_short = any(words in text for words in _SHORT_WRITE_WORDS)
    return is_short and folder is not None and is_disk_full(folder)


def _is_gpu_memory(err: BaseException, text: str) -> bool:
    """torch.OutOfMemoryError is of accelerators; named by its type, so that torch stays out."""
    if type(err).__name__ == "OutOfMemoryError":
        return True
    return "out of memory" in text and any(w in text for w in ("cuda", "gpu", "hip", "mps"))
