"""The student before and after training: load it, prune it, save what was learned."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import DpoRun, SftRun
from distill_studio.distill.data import encode_preference, encode_sft, iter_rows
from distill_studio.distill.events import EventWriter, Note, Pruned
from distill_studio.distill.trainers.setup import Setup

_PRUNE_ROWS = 8
_PRUNE_TOKENS = 256


def load_model(base: Path, dtype: Any, device: str) -> Any:  # noqa: ANN401
    """A causal LM from a folder, in `dtype`, on `device`."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    return model.to(device)


def count_weights(model: Any) -> tuple[int, int]:  # noqa: ANN401
    """(all weights, those that train)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)


def student_folder(
    config: SftRun | DpoRun,
    folder: Path,
    device: str,
    dtype: Any,  # noqa: ANN401  (torch.dtype)
    writer: EventWriter,
) -> Path:
    """The base model, or its pruned copy `student/`, made once."""
    base = Path(config.student.base_folder)
    keep = config.student.keep_layers
    if keep is None:
        return base
    target = folder / "student"
    if target.exists():
        return target
    import torch
    from transformers import AutoTokenizer

    from distill_studio.distill.prune import prune

    writer.write(Note(message=f"Dropping layers until {keep} are left."))
    model = load_model(base, dtype, device)
    chat = ChatTokenizer.load(base)
    batches_BT = [
        torch.tensor([ids[:_PRUNE_TOKENS]], device=device) for ids in _some_rows(config, chat)
    ]
    report = prune(model, batches_BT, keep)
    unfinished = folder / "student.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    model.to(_stored_dtype(base)).save_pretrained(unfinished)
    AutoTokenizer.from_pretrained(base).save_pretrained(unfinished)
    unfinished.rename(target)
    writer.write(Pruned(kept=report.kept, of=report.of, influence=report.influence))
    return target


def _some_rows(config: SftRun | DpoRun, chat: ChatTokenizer) -> list[list[int]]:
    rows = iter_rows(Path(config.data.folder), "train", _PRUNE_ROWS)
    if config.method == "sft":
        return [encode_sft(chat, row).input_ids for row in rows]
    pairs = [encode_preference(chat, row) for row in rows]
    return [pair.prompt_ids + pair.chosen_ids for pair in pairs]


def _stored_dtype(base: Path) -> Any:  # noqa: ANN401
    """The dtype the base model is kept in, so that the student is no larger."""
    import torch

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    return getattr(torch, str(name))


def save_student(setup: Setup, trainer: Any, base: Path) -> None:  # noqa: ANN401
    """Write `adapter/` and `model/`, each made beside its place and moved when whole."""
    model = trainer.model
    if setup.config.lora is not None:
        _moved(setup.folder / "adapter", lambda path: model.save_pretrained(path))
        model = model.merge_and_unload()
    model = model.to(_stored_dtype(base))
    _moved(
        setup.folder / "model",
        lambda path: (model.save_pretrained(path), setup.tokenizer.save_pretrained(path)),
    )


def _moved(target: Path, write: Callable[[Path], object]) -> None:
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    write(unfinished)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
