"""The student before and after training: load it, prune it, save what was learned."""

import functools
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import RunConfig
from distill_studio.distill.data import iter_rows
from distill_studio.distill.device import pick_attention
from distill_studio.distill.estimate import model_facts
from distill_studio.distill.events import EventWriter, Note, Pruned
from distill_studio.distill.layer_pairs import MAPS
from distill_studio.distill.pruning import Shape, changes_text, is_narrowed, refuse_layout
from distill_studio.distill.rows import TolerantReader, read_ids
from distill_studio.distill.trainers.setup import Setup

_DEPTH_ROWS = 8
_WIDTH_ROWS = 32  # thousands of neurons are told apart, not some dozens of layers
_PRUNE_TOKENS = 256


def load_model(
    base: Path,
    dtype: Any,  # noqa: ANN401  (torch.dtype)
    device: str,
    quantised: Any = None,  # noqa: ANN401  (of `device.quantisation`)
) -> Any:  # noqa: ANN401
    """A causal LM from a folder, in `dtype`, on `device`."""
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": dtype}
    if (attention := pick_attention(device, dtype)) is not None:
        options["attn_implementation"] = attention
    if quantised is not None:  # packed while it is read: it cannot move afterwards
        options |= {"quantization_config": quantised, "device_map": {"": device}}
        return AutoModelForCausalLM.from_pretrained(base, **options)
    model: Any = AutoModelForCausalLM.from_pretrained(base, **options)
    return model.to(device)


def count_weights(model: Any) -> tuple[int, int]:  # noqa: ANN401
    """(all weights, those that train)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)


def student_folder(
    config: RunConfig,
    folder: Path,
    device: str,
    dtype: Any,  # noqa: ANN401  (torch.dtype)
    writer: EventWriter,
) -> Path:
    """The base model, or its pruned copy `student/`, made once."""
    base = Path(config.student.base_folder)
    if not config.student.is_pruned:
        return base
    target = folder / "student"
    if target.exists():
        return target
    import torch
    from transformers import AutoTokenizer

    from distill_studio.distill.prune import refuse_rewired

    before, after = model_facts(base).shape, model_facts(base, config.student).shape
    writer.write(
        Note(message=f"Pruning the student: {changes_text(before, after) or 'all stays'}.")
    )
    model = load_model(base, dtype, device)
    chat = ChatTokenizer.load(base)
    count = _WIDTH_ROWS if is_narrowed(before, after) else _DEPTH_ROWS
    batches_BT = [
        torch.tensor([ids[:_PRUNE_TOKENS]], device=device) for ids in some_rows(config, chat, count)
    ]
    pruned = _prune(model, batches_BT, config.student.keep_layers, before, after)
    unfinished = folder / "student.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    said = _logits(model, batches_BT[0])
    model.to(stored_dtype(base)).save_pretrained(unfinished)
    AutoTokenizer.from_pretrained(base).save_pretrained(unfinished)
    model_type = model.config.model_type
    del model  # one of them at a time
    again = _logits(load_model(unfinished, dtype, device), batches_BT[0])
    refuse_rewired(said, again, model_type, has_all_layers=before.layers == after.layers)
    unfinished.rename(target)
    writer.write(pruned)
    return target


def _prune(
    model: Any,  # noqa: ANN401
    batches_BT: list[Any],
    keep: int | None,
    before: Shape,
    after: Shape,
) -> Pruned:
    """Drop layers, then narrow those that are left; both by what the whole model does."""
    from distill_studio.distill.prune import PruneReport, prune
    from distill_studio.distill.prune_width import narrow, width_importance

    report = PruneReport(list(range(before.layers)), before.layers, [])
    importance = None
    if is_narrowed(before, after):
        sizes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
        refuse_layout(sizes, model.config.get_text_config().model_type, before, after)
        importance = width_importance(model, batches_BT, before)
    if keep is not None:
        report = prune(model, batches_BT[:_DEPTH_ROWS], keep)
    if importance is not None:
        narrow(model, importance.of_layers(report.kept), before, after)
    return Pruned(
        kept=report.kept,
        of=report.of,
        influence=report.influence,
        neurons=after.neurons,
        groups=after.groups,
        channels=after.hidden,
        parameters=count_weights(model)[0],
    )


def some_rows(config: RunConfig, chat: ChatTokenizer, count: int = _DEPTH_ROWS) -> list[list[int]]:
    """Tokens of the first `count` rows that can be read.

    Raises:
        InvalidInput: There is none.
    """
    reader = TolerantReader(functools.partial(read_ids, chat, config))
    rows = reader.all_of(iter_rows(Path(config.data.folder), "train"))
    found = list(itertools.islice((ids for _, ids in rows if ids), count))
    if not found:
        nothing = InvalidInput("No row has any text.", "Freeze rows that have an answer.")
        raise nothing if reader.first is None else reader.first.error
    return found


def _logits(model: Any, ids_BT: Any) -> Any:  # noqa: ANN401
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=ids_BT, use_cache=False).logits


def stored_dtype(base: Path) -> Any:  # noqa: ANN401
    """The dtype the base model is kept in, so that the student is no larger."""
    import torch

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    return getattr(torch, str(name))


def save_student(
    setup: Setup,
    trainer: Any,  # noqa: ANN401
    base: Path,
    dtype: Any,  # noqa: ANN401  (torch.dtype)
) -> None:
    """Write `adapter/` and `model/`, each made beside its place and moved when whole.

    Every process of a training calls this; the first one writes.

    Args:
        setup: Of the training.
        trainer: Holds what was trained.
        base: Folder of the model it started from.
        dtype: What the model is kept in, see `stored_dtype`.
    """
    model = trainer.model
    if setup.config.sharding != "none":
        model = _gathered(setup, trainer, base)
    if not setup.ranks.is_first:
        return
    _take_off_maps(model)
    if setup.config.lora is not None:
        _moved(setup.folder / "adapter", lambda path: model.save_pretrained(path))
        if setup.config.quantise != "none":  # merged into the weights as they were, unpacked
            model = _with_adapter(base, setup.folder / "adapter")
        model = model.merge_and_unload()
    model = model.to(dtype)
    _moved(
        setup.folder / "model",
        lambda path: (model.save_pretrained(path), setup.tokenizer.save_pretrained(path)),
    )


def _take_off_maps(model: Any) -> None:  # noqa: ANN401
    """Linear maps of feature distillation are for the training alone."""
    for module in list(model.modules()):
        if MAPS in dict(module.named_children()):  # an adapter answers for what it wraps
            delattr(module, MAPS)
            return


def _gathered(setup: Setup, trainer: Any, base: Path) -> Any:  # noqa: ANN401
    """The whole student out of its parts on all devices; None in all processes but the first."""
    parts = setup.folder / "gathered.unfinished"
    trainer.save_model(str(parts))  # the library gathers: all must take part
    if not setup.ranks.is_first:
        return None
    import torch

    if setup.config.lora is None:
        model = load_model(parts, torch.float32, "cpu")
    else:
        model = _with_adapter(base, parts)
    shutil.rmtree(parts)
    return model


def _with_adapter(base: Path, adapter: Path) -> Any:  # noqa: ANN401
    """The base model in fp32 on the CPU, with an adapter."""
    import torch
    from peft import PeftModel

    return PeftModel.from_pretrained(load_model(base, torch.float32, "cpu"), adapter)


def _moved(target: Path, write: Callable[[Path], object]) -> None:
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    write(unfinished)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
