"""Every setting of a run in words, for its card, its page and the comparison of runs. Torch-free.

`SETTINGS` names what is said, `LEFT_OUT` what is not and why; a test demands that each field of
every class in `config.py` stands in one of them. Start at `setting_rows(run.config)`.
"""

from collections.abc import Mapping
from typing import Any

from distill_studio.distill.config import PRUNING
from distill_studio.distill.model_names import short_id

# Path in run.json -> its words, in the order in which they are told.
SETTINGS: dict[str, str] = {
    "method": "Method",
    "student.base_id": "Student",
    "student.keep_layers": "Layers kept",
    "student.keep_mlp": "Share of the MLP neurons kept",
    "student.keep_groups": "Key/value groups kept",
    "student.keep_hidden": "Share of the hidden channels kept",
    "data.name": "Snapshot",
    "data.content_hash": "Hash of the snapshot",
    "data.format": "Format of the rows",
    "teacher.id": "Teacher",
    "teacher.weight": "Weight of the teacher",
    "more_teachers": "Other teachers",
    "lora.r": "LoRA rank",
    "lora.alpha": "LoRA alpha",
    "lora.dropout": "LoRA dropout",
    "lora.target_modules": "Layers with LoRA",
    "learning_rate": "Learning rate",
    "scheduler": "Learning rate falls by",
    "warmup_ratio": "Share of the updates to warm up",
    "weight_decay": "Weight decay",
    "max_grad_norm": "Gradients are clipped to",
    "max_steps": "Most updates",
    "epochs": "Epochs",
    "batch_size": "Rows in a batch",
    "grad_accumulation": "Batches in an update",
    "devices": "Processes",
    "sharding": "Sharding",
    "max_length": "Most tokens of a row",
    "over_length": "Longer rows are",
    "packing": "Rows packed end to end",
    "learn": "Learned turns",
    "reasoning_share": "Share of rows with reasoning",
    "reasoning_budget": "Most tokens of reasoning",
    "loss": "Loss",
    "alpha": "Alpha, weight of the cross-entropy",
    "beta": "Beta",
    "temperature": "Temperature of the distillation",
    "divergence": "Divergence",
    "mixture": "Mixture of the divergence",
    "across_tokenizers": "Across tokenizers",
    "signal": "The teacher is asked",
    "kept": "Kept of the teacher",
    "top_k": "Kept per token",
    "features.weight": "Weight of hidden states",
    "features.loss": "Loss of hidden states",
    "features.pairs": "Layers, student:teacher",
    "sampling_temperature": "Temperature of the student's own answers",
    "answer_tokens": "Longest own answer, tokens",
    "label_smoothing": "Share of wrong preferences",
    "sft_weight": "Weight of SFT on the chosen answers",
    "desirable_weight": "Weight of accepted answers",
    "undesirable_weight": "Weight of rejected answers",
    "reference": "Reference",
    "eval_every": "Updates between evaluations",
    "eval_rows": "Most held-out rows",
    "seed": "Seed",
    "dtype": "Numbers",
    "quantise": "Quantised",
    "device": "Device",
}
# Path in run.json -> why nothing is said of it.
LEFT_OUT: dict[str, str] = {
    "schema_version": "of the file, not of the training",
    "name": "the title",
    "student.base_folder": "a folder of this machine",
    "data.folder": "a folder of this machine",
    "teacher.folder": "a folder of this machine",
    "teacher.server": "how a server is reached; its model stands beside the teacher",
    "cache_folder": "a folder of this machine",
    "save_every": "when it is stored, which changes nothing",
    "keep_checkpoints": "what is left of it beside the student",
    "resume": "how it is started again",
    "samples": "what is shown while it trains",
    "sample_tokens": "what is shown while it trains",
    "tracker": "where else its curves are shown",
}
# What other settings leave without a meaning: path -> (another path, its values that give it one).
_ONLY_WITH: dict[str, tuple[str, tuple[Any, ...]]] = {
    "kept": ("signal", ("cache",)),
    "top_k": ("signal", ("cache",)),
    "label_smoothing": ("loss", ("robust",)),
    "across_tokenizers": ("across_tokenizers", ("uld", "hybrid")),
    "divergence": ("across_tokenizers", (None, "answers")),
}
_BETA = {
    "dpo": "Beta, pull towards the start",
    "kto": "Beta, pull towards the start",
    "logit": "Beta, weight of the divergence",
}
_IN_A_SUMMARY = {
    "method",
    "student.base_id",
    *(f"student.{name}" for name in PRUNING),
    "data.name",
    "data.content_hash",
    "teacher.id",
}


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run.json by path, those without a meaning or a value left out."""
    found = {}
    for path in SETTINGS:
        value = _at(config, path)
        if value is None or value in ((), []):
            continue
        other, wanted = _ONLY_WITH.get(path, ("", ()))
        if other and _at(config, other) not in wanted:
            continue
        if path == "epochs" and config.get("max_steps") is not None:
            continue  # the updates are counted, not the passes
        found[path] = value
    return found


def label_of(path: str, method: str) -> str:
    """A setting in words."""
    return _BETA.get(method, SETTINGS[path]) if path == "beta" else SETTINGS[path]


def value_text(path: str, value: Any) -> str:  # noqa: ANN401  (any value of a run.json)
    """Its value in words; of a model's folder the name alone."""
    if value is None:
        return "–"
    if path in ("student.base_id", "teacher.id"):
        return short_id(str(value))
    if path == "more_teachers":
        return ", ".join(f"{short_id(one['id'])} * {one.get('weight', 1.0):g}" for one in value)
    if path == "features.pairs":
        return ", ".join(f"{student}:{teacher}" for student, teacher in value)
    if path == "data.content_hash":
        return str(value)[:12]
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def setting_rows(config: Mapping[str, Any], *, has_summary: bool = False) -> list[tuple[str, str]]:
    """Words and value of each setting.

    Args:
        config: A run.json.
        has_summary: Method, student and data stand elsewhere already.
    """
    method = str(config.get("method", ""))
    rows = []
    for path, value in settings_of(config).items():
        if (has_summary and path in _IN_A_SUMMARY) or path.startswith("lora."):
            continue
        rows.append((label_of(path, method), value_text(path, value)))
    lora = config.get("lora")
    return [*rows, ("Weights", lora_text(lora) if lora else "all")]


def lora_text(lora: Mapping[str, Any]) -> str:
    """An adapter in words."""
    said = f"LoRA, rank {lora['r']}, alpha {lora['alpha']}"
    if lora.get("dropout"):
        said += f", dropout {lora['dropout']:g}"
    if modules := lora.get("target_modules"):
        said += f", on {', '.join(modules)}"
    return said


def _at(config: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401
    value: Any = config
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
