"""Write a planned GGUF file, tensor by tensor and some rows at a time."""

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from distill_studio.core.errors import InvalidInput
from distill_studio.core.progress import Progress, no_progress
from distill_studio.distill.llama_cpp.about import About
from distill_studio.distill.llama_cpp.number_formats import (
    NUMBER_FORMATS,
    GgufType,
    format_of,
    stored_bytes,
)
from distill_studio.distill.llama_cpp.plan import WAY_OUT, Plan, PlannedTensor
from distill_studio.distill.llama_cpp.rope import llama3_factors
from distill_studio.distill.llama_cpp.vocabulary import Vocabulary, read_vocabulary

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

_HUB = "https://huggingface.co"
_ROPE_FACTORS = "rope_freqs.weight"


def write_gguf(
    plan: Plan,
    kind: GgufType,
    about: About,
    target: Path,
    progress: Progress = no_progress,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write the file; it is at `target` when it is whole, never before.

    Args:
        plan: Of the student.
        kind: Number format.
        about: What else the file says.
        target: Where it goes.
        progress: Told of the bytes of weights that are written.
        check: Called between pieces; raises to stop.

    Raises:
        InvalidInput: Its tokenizer cannot be said in GGUF, or a weight is not a number, or too
            large for 16 bits.
        OSError: The disk is full, or the model's files are gone.
    """
    from gguf import GGUFWriter

    vocabulary = read_vocabulary(plan.folder, plan.rows, WAY_OUT)
    writer = GGUFWriter(path=None, arch=plan.architecture)
    _add_facts(writer, plan, kind, about)
    _add_vocabulary(writer, vocabulary)
    formats = _add_tensors(writer, plan, kind)
    total = sum(stored_bytes(one.weight.shape, formats[one.name]) for one in plan.tensors)
    unfinished = target.with_name(f".{target.name}.part")
    try:
        writer.write_header_to_file(unfinished)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        files: Any = writer.fout  # just one: nothing is split
        file: IO[bytes] = files[0]
        writer.write_padding(file, file.tell())
        if plan.rope.kind == "llama3":
            factors = llama3_factors(plan.rope, plan.head_dim)
            file.write(factors.tobytes())
            writer.write_padding(file, factors.nbytes)
        done = 0
        for tensor in plan.tensors:
            for piece in tensor.weight.pieces(tensor.heads):
                check()
                done += _write(file, tensor, piece, formats[tensor.name])
                progress(done, total, tensor.name)
            writer.write_padding(file, file.tell())
        writer.close()
        unfinished.replace(target)
    finally:
        try:
            writer.close()  # writes what it still holds, where the disk has room
        finally:
            unfinished.unlink(missing_ok=True)


def _write(
    file: IO[bytes], tensor: PlannedTensor, piece: "np.ndarray", stored: "GGMLQuantizationType"
) -> int:
    """Write some rows; returns their bytes."""
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    if not np.isfinite(piece).all():
        raise InvalidInput(
            f"The student's weight {tensor.weight.name} holds what is no number: its training went"
            " wrong.",
            "Train it again, with a smaller learning rate.",
        )
    with np.errstate(over="ignore"):  # looked at below
        made = quantize(piece, stored)
    if stored is GGMLQuantizationType.F16 and not np.isfinite(made).all():
        raise InvalidInput(
            f"The student's weight {tensor.weight.name} is too large for f16.", "Take bf16 or q8_0."
        )
    file.write(made.tobytes())  # says so when the disk is full, as `tofile` does not
    return int(made.nbytes)


def _add_facts(writer: "GGUFWriter", plan: Plan, kind: GgufType, about: About) -> None:
    """Name, licence, origin, and the shape of the model."""
    from gguf import GGML_QUANT_VERSION, LlamaFileType
    from gguf.utility import model_weight_count_rounded_notation

    writer.add_type("model")
    writer.add_name(about.name)
    count = sum(prod(one.weight.shape) for one in plan.tensors)
    writer.add_size_label(model_weight_count_rounded_notation(count, min_digits=2))
    texts: dict[str, Any] = {
        "description": about.description,
        "license": about.licence,
        "license_name": about.licence_name,
        "license_link": about.licence_link,
        "tags": list(about.tags),
    }
    for key, value in texts.items():
        if value:
            getattr(writer, f"add_{key}")(value)
    if about.base_model:
        owner, _, name = about.base_model.rpartition("/")
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, name)
        writer.add_base_model_organization(0, owner)
        writer.add_base_model_repo_url(0, f"{_HUB}/{about.base_model}")
    if about.datasets:
        writer.add_dataset_count(len(about.datasets))
        for number, name in enumerate(about.datasets):
            writer.add_dataset_name(number, name)
            writer.add_dataset_repo_url(number, f"{_HUB}/datasets/{name}")
    writer.add_file_type(LlamaFileType[NUMBER_FORMATS[kind].file_type])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    _add_shape(writer, plan)


def _add_shape(writer: "GGUFWriter", plan: Plan) -> None:
    from gguf import RopeScalingType

    config, rope = plan.config, plan.rope
    heads = config["num_attention_heads"]
    writer.add_vocab_size(plan.rows)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(plan.head_dim)
    writer.add_value_length(plan.head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(plan.head_dim)
    writer.add_rope_freq_base(rope.theta)
    if rope.kind not in ("linear", "yarn"):  # llama3 is a tensor, see `_add_tensors`
        return
    writer.add_rope_scaling_type(RopeScalingType(rope.kind))
    writer.add_rope_scaling_factor(rope.settings["factor"])
    if rope.kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope.settings["original_max_position_embeddings"])
        for name in ("beta_fast", "beta_slow"):
            if (value := rope.settings.get(name)) is not None:
                getattr(writer, f"add_rope_scaling_yarn_{name}")(value)


def _add_vocabulary(writer: "GGUFWriter", vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")  # byte-level BPE
    writer.add_tokenizer_pre(vocabulary.rule)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    for word, number in vocabulary.special.items():
        getattr(writer, f"add_{word}_token_id")(number)
    writer.add_add_bos_token(vocabulary.adds_bos)
    writer.add_add_eos_token(vocabulary.adds_eos)
    if vocabulary.template:
        writer.add_chat_template(vocabulary.template)


def _add_tensors(
    writer: "GGUFWriter", plan: Plan, kind: GgufType
) -> dict[str, "GGMLQuantizationType"]:
    """Announce all tensors; returns the format of each by name."""
    import numpy as np

    if plan.rope.kind == "llama3":
        half = plan.head_dim // 2
        writer.add_tensor_info(_ROPE_FACTORS, (half,), np.dtype(np.float32), 4 * half)
    formats = {one.name: format_of(kind, one.name, one.weight.shape) for one in plan.tensors}
    for one in plan.tensors:
        shape, stored = one.weight.shape, formats[one.name]
        size = stored_bytes(shape, stored)
        writer.add_tensor_info(one.name, shape, np.dtype(np.float32), size, raw_dtype=stored)
    return formats
