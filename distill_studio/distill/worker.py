"""The child process that trains: `python -m distill_studio.distill.worker run.json`.

Reads `run.json` and the frozen Parquet, nothing else; appends `events.jsonl` beside `run.json`,
writes checkpoints, then `model/` (whole, loads with transformers) and `adapter/` (with LoRA).
SIGTERM or Ctrl-C: finish the update, save a checkpoint, end as `stopped`. Started again it goes on
from the last whole checkpoint. Exit code 0: done or stopped; 1: failed; 2: wrong usage or another
worker trains this run.
"""

import json
import logging
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from filelock import FileLock, Timeout

from distill_studio.core.errors import Cancelled
from distill_studio.core.process_mark import start_mark
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.command import LOCK_FILE, PROCESS_FILE
from distill_studio.distill.config import RunConfig, load_config
from distill_studio.distill.device import one_gpu
from distill_studio.distill.events import (
    EVENTS_FILE,
    Done,
    EventWriter,
    Failed,
    Note,
    SilentWriter,
    Started,
    Stopped,
    last_final,
    read_events,
)
from distill_studio.distill.failures import drop_reserve, explain, give_way, is_whole, make_reserve
from distill_studio.distill.freed_memory import keep_freed_memory
from distill_studio.distill.ranks import Ranks
from distill_studio.distill.results import final_metrics
from distill_studio.distill.student import (
    count_weights,
    load_model,
    save_student,
    stored_dtype,
    student_folder,
)
from distill_studio.distill.trainers.setup import ROWS_FILE, Setup

if TYPE_CHECKING:
    from distill_studio.distill.trainers.callback import EventCallback

logger = logging.getLogger(__name__)
_RESUMING = (
    *("optimizer*", "scheduler.pt", "scaler.pt", "rng_state*.pth"),
    *("global_step*", "latest", "zero_to_*.py"),  # of DeepSpeed
)
_LOCK_WAIT_S = 1.0  # the app holds it for an instant when it looks whether somebody trains


def main(argv: list[str]) -> int:
    """Train the run whose `run.json` is named; returns the exit code."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m distill_studio.distill.worker run.json\n")
        return 2
    path = Path(argv[0]).resolve()
    folder = path.parent
    ranks = Ranks.from_environment()
    lock = FileLock(folder / LOCK_FILE)
    try:
        if ranks.is_first:
            lock.acquire(timeout=_LOCK_WAIT_S)
    except Timeout:
        sys.stderr.write("Another worker trains this run already.\n")
        return 2
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is on this machine by now
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if ranks.is_first:
        _write_process_file(folder)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    writer = EventWriter(folder / EVENTS_FILE) if ranks.is_first else SilentWriter()
    begins_at = (folder / EVENTS_FILE).stat().st_size if (folder / EVENTS_FILE).exists() else 0
    method = ""
    try:
        if ranks.is_first:
            make_reserve(folder)
        config = load_config(path)
        method = config.method
        device = one_gpu(config.device, ranks.world, os.environ)
        train(config.model_copy(update={"device": device}), folder, writer, stop, ranks)
    except Cancelled:
        writer.write(Stopped(step=0))
    except Exception as err:
        failed = explain(err, folder, method)  # half a checkpoint still fills the disk
        give_way(folder)
        logger.exception("the training failed")
        _tell(failed, folder, begins_at)
        return 1
    finally:
        writer.close()
        drop_reserve(folder)
        lock.release()
    return 0


def train(
    config: RunConfig,
    folder: Path,
    writer: EventWriter,
    stop: threading.Event,
    ranks: Ranks | None = None,
) -> None:
    """Train from the first update or the last checkpoint to the saved model.

    Raises:
        Cancelled: Stopped before the first update.
        StudioError: What cannot work, in the user's words.
    """
    writer.write(Note(message="Loading torch and the student."))
    import torch
    from transformers import AutoTokenizer

    from distill_studio.distill.device import (
        check_sharding,
        pick_device,
        pick_dtype,
        quantisation,
    )
    from distill_studio.distill.trainers.callback import EventCallback
    from distill_studio.distill.trainers.tracking import tracked

    torch.manual_seed(config.seed)
    ranks = ranks or Ranks()
    device = ranks.device(pick_device(config.device))
    check_sharding(config.sharding, device)
    ranks.join(device)
    dtype = pick_dtype(config.dtype, device)
    if ranks.is_any(dtype == torch.bfloat16, device):  # measured by each: they must agree
        dtype = torch.bfloat16
    base = ranks.first_then_others(lambda: student_folder(config, folder, device, dtype, writer))
    kept_in = stored_dtype(base)
    packed = quantisation(config.quantise, device, config.lora is not None)
    setup = Setup(
        config=config,
        folder=folder,
        # Full weights are kept in fp32: small updates vanish in bf16. Adapters are fp32 anyway.
        model=load_model(base, dtype if config.lora else torch.float32, device, packed),
        tokenizer=AutoTokenizer.from_pretrained(base),
        chat=ChatTokenizer.load(base),
        device=device,
        is_bf16=dtype == torch.bfloat16,
        say=lambda message, **more: writer.write(Note(message=message, **more)),
        check_stop=lambda: _raise_if(stop),
        ranks=ranks,
    )
    _raise_if(stop)
    is_spread = config.sharding != "none"  # no process has the whole student to answer with
    prompts = [] if is_spread else setup.sample_prompts()
    callback = EventCallback(
        writer, stop, device, prompts, config.sample_tokens, setup.tokenizer, ranks
    )
    setup.callbacks.append(callback)
    with tracked(setup):
        _fit(setup, callback, base, kept_in, writer, stop)


def _fit(
    setup: Setup,
    callback: "EventCallback",
    base: Path,
    kept_in: Any,  # noqa: ANN401  (a torch.dtype)
    writer: EventWriter,
    stop: threading.Event,
) -> None:
    """All updates that are left, the last held-out figures, and the saved student.

    Args:
        setup: Model, tokenizers and choices.
        callback: Has heard the losses at the end.
        base: Folder of the student before training.
        kept_in: Number format of its weights there.
        writer: Where events go.
        stop: Set when somebody asked to stop.
    """
    import torch

    from distill_studio.distill.trainers import build_trainer

    config, folder, ranks = setup.config, setup.folder, setup.ranks
    torch.manual_seed(config.seed)  # adapters start alike, whatever was drawn before
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
            device=setup.device,
            dtype="bfloat16" if setup.is_bf16 else "float32",
            parameters=parameters,
            trainable=trainable,
        )
    )
    # Not `evaluate()` before `train()`: the library then takes the student for wrapped already, and
    # several processes would never exchange their gradients.
    trainer.args.eval_on_start = checkpoint is None and setup.validation_rows > 0
    _raise_if(stop)
    if checkpoint and step_of(checkpoint) >= setup.total:
        take_up(trainer, checkpoint)  # only saving was left; `train` would make one update more
    else:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    reached = int(trainer.state.global_step)
    if stop.is_set() and reached < setup.total:
        writer.write(Stopped(step=reached))
        return
    if setup.validation_rows and (not callback.evals or callback.evals[-1].step != reached):
        trainer.evaluate()
    writer.write(Note(message="Saving the student."))
    save_student(setup, trainer, base, kept_in)
    ranks.wait()
    if not ranks.is_first:
        return
    events, _ = read_events(folder / EVENTS_FILE)
    writer.write(Done(metrics=final_metrics(events, callback.losses, reached)))
    leave_checkpoints(folder, config.keep_checkpoints)  # only now they are not needed
    (folder / ROWS_FILE).unlink(missing_ok=True)
    for tokens in folder.glob("tokens-*"):
        shutil.rmtree(tokens, ignore_errors=True)


def leave_checkpoints(folder: Path, kept: int) -> None:
    """Delete all but the newest of a run that is done, and of those what only resuming needs."""
    if not kept:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return
    found = sorted((folder / "checkpoints").glob("checkpoint-*"), key=step_of, reverse=True)
    for path in found[kept:]:
        shutil.rmtree(path, ignore_errors=True)
    for item in (item for path in found[:kept] for name in _RESUMING for item in path.glob(name)):
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; one whose writing was cut short is passed over."""
    found = sorted((folder / "checkpoints").glob("checkpoint-*"), key=step_of, reverse=True)
    for path in found:
        if is_whole(path):
            return path
        logger.warning("passing over the unfinished checkpoint %s", path.name)
    return None


def take_up(trainer: Any, checkpoint: Path) -> None:  # noqa: ANN401  (a transformers Trainer)
    """Weights and state of a checkpoint, without training on."""
    from transformers import TrainerState

    trainer._load_from_checkpoint(str(checkpoint))
    trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))


def step_of(checkpoint: Path | None) -> int:
    """The update a checkpoint was made after; 0 for none."""
    return int(checkpoint.name.rsplit("-", 1)[-1]) if checkpoint else 0


def _tell(failed: Failed, folder: Path, begins_at: int) -> None:
    """Write how this attempt failed, unless another of its processes has: the first one knows why,
    the others only lose the connection."""
    events, _ = read_events(folder / EVENTS_FILE, begins_at)
    if last_final(events) is None:
        writer = EventWriter(folder / EVENTS_FILE)
        writer.write(failed)
        writer.close()


def _write_process_file(folder: Path) -> None:
    process = psutil.Process()
    facts = {"pid": process.pid, "started": process.create_time(), "mark": start_mark(process.pid)}
    text = json.dumps(facts)
    (folder / PROCESS_FILE).write_text(text, encoding="utf-8")


def _raise_if(stop: threading.Event) -> None:
    if stop.is_set():
        raise Cancelled("Stopped before the first update.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
