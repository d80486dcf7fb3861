"""The child process that trains: `python -m distill_studio.distill.worker run.json`.

Reads `run.json` and the frozen Parquet, nothing else; appends `events.jsonl` beside `run.json`,
writes checkpoints, then `model/` (whole, loads with transformers) and `adapter/` (with LoRA).
SIGTERM or Ctrl-C: finish the update, save a checkpoint, end as `stopped`. Started again it goes on
from the last whole checkpoint. Exit code 0: done or stopped; 1: failed; 2: wrong usage or another
worker trains this run.
"""

import errno
import json
import logging
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from distill_studio.core.errors import Cancelled, StudioError
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.command import PROCESS_FILE
from distill_studio.distill.config import DpoRun, SftRun, load_config
from distill_studio.distill.events import (
    EVENTS_FILE,
    Done,
    EventWriter,
    Failed,
    Note,
    Started,
    Stopped,
    read_events,
)
from distill_studio.distill.results import final_metrics
from distill_studio.distill.student import count_weights, load_model, save_student, student_folder
from distill_studio.distill.trainers.setup import Setup

logger = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Train the run whose `run.json` is named; returns the exit code."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m distill_studio.distill.worker run.json\n")
        return 2
    path = Path(argv[0]).resolve()
    folder = path.parent
    lock = FileLock(folder / "worker.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        sys.stderr.write("Another worker trains this run already.\n")
        return 2
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is on this machine by now
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    _write_process_file(folder)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    writer = EventWriter(folder / EVENTS_FILE)
    try:
        train(load_config(path), folder, writer, stop)
    except Cancelled:
        writer.write(Stopped(step=0))
    except Exception as err:
        logger.exception("the training failed")
        writer.write(explain(err))
        return 1
    finally:
        writer.close()
        lock.release()
    return 0


def train(
    config: SftRun | DpoRun, folder: Path, writer: EventWriter, stop: threading.Event
) -> None:
    """Train from the first update or the last checkpoint to the saved model.

    Raises:
        Cancelled: Stopped before the first update.
        StudioError: What cannot work, in the user's words.
    """
    writer.write(Note(message="Loading torch and the student."))
    import torch
    from transformers import AutoTokenizer

    from distill_studio.distill.device import pick_device, pick_dtype
    from distill_studio.distill.trainers import build_trainer
    from distill_studio.distill.trainers.callback import EventCallback

    torch.manual_seed(config.seed)
    device = pick_device(config.device)
    dtype = pick_dtype(config.dtype, device)
    base = student_folder(config, folder, device, dtype, writer)
    setup = Setup(
        config=config,
        folder=folder,
        # Full weights are kept in fp32: small updates vanish in bf16. Adapters are fp32 anyway.
        model=load_model(base, dtype if config.lora else torch.float32, device),
        tokenizer=AutoTokenizer.from_pretrained(base),
        chat=ChatTokenizer.load(base),
        device=device,
        is_bf16=dtype == torch.bfloat16,
    )
    _raise_if(stop)
    prompts = setup.sample_prompts()
    callback = EventCallback(writer, stop, device, prompts, config.sample_tokens, setup.tokenizer)
    setup.callbacks.append(callback)
    trainer = build_trainer(setup)
    checkpoint = last_checkpoint(folder) if config.resume else None
    parameters, trainable = count_weights(trainer.model)
    writer.write(
        Started(
            total=setup.total,
            resumed_from=step_of(checkpoint),
            train_rows=setup.train_rows,
            validation_rows=setup.validation_rows,
            left_out=setup.left_out,
            device=device,
            dtype=str(dtype).removeprefix("torch."),
            parameters=parameters,
            trainable=trainable,
        )
    )
    if checkpoint is None and setup.validation_rows:
        trainer.evaluate()
    _raise_if(stop)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    reached = int(trainer.state.global_step)
    if stop.is_set() and reached < setup.total:
        writer.write(Stopped(step=reached))
        return
    if setup.validation_rows and (not callback.evals or callback.evals[-1].step != reached):
        trainer.evaluate()
    writer.write(Note(message="Saving the student."))
    save_student(setup, trainer, base)
    events, _ = read_events(folder / EVENTS_FILE)
    writer.write(Done(metrics=final_metrics(events, callback.losses, reached)))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # only now they are not needed


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; one whose writing was cut short is passed over."""
    found = sorted((folder / "checkpoints").glob("checkpoint-*"), key=step_of, reverse=True)
    for path in found:
        state = path / "trainer_state.json"  # written last
        try:
            json.loads(state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            logger.warning("passing over the unfinished checkpoint %s", path.name)
            continue
        return path
    return None


def step_of(checkpoint: Path | None) -> int:
    """The update a checkpoint was made after; 0 for none."""
    return int(checkpoint.name.rsplit("-", 1)[-1]) if checkpoint else 0


def explain(err: Exception) -> Failed:
    """A failure in the user's words."""
    if isinstance(err, StudioError):
        return Failed(message=err.user_message, hint=err.hint)
    text = str(err)
    if isinstance(err, OSError) and err.errno == errno.ENOSPC:
        hint = "Free some space, then resume: the last checkpoint is kept."
        return Failed(message="The disk is full.", hint=hint)
    if isinstance(err, MemoryError) or "out of memory" in text.lower():
        hint = "Lower the batch size or the longest length, or train with LoRA; then resume."
        return Failed(message="The memory was not enough.", hint=hint)
    return Failed(
        message=f"{type(err).__name__}: {text[:500]}",
        hint="The log of this run shows where it happened.",
    )


def _write_process_file(folder: Path) -> None:
    process = psutil.Process()
    text = json.dumps({"pid": process.pid, "started": process.create_time()})
    (folder / PROCESS_FILE).write_text(text, encoding="utf-8")


def _raise_if(stop: threading.Event) -> None:
    if stop.is_set():
        raise Cancelled("Stopped before the first update.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
