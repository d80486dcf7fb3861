"""Which trainings take as long as each other: what a measured time of one says of another.

Torch-free. Reads `run.json` as stored with a run, also of older versions that lack a setting.
"""

from collections.abc import Mapping
from typing import Any

from distill_studio.distill.config import PRUNING, RUN_CONFIGS

_OF_SPEED = (
    *("method", "device", "quantise", "dtype", "devices", "sharding", "packing"),
    *("signal", "features", "reference", "answer_tokens", "across_tokenizers"),
)
_OF_AN_UPDATE = (
    *("batch_size", "grad_accumulation", "max_length", "over_length", "lora"),
    *("eval_every", "eval_rows", "learn", "reasoning_share", "reasoning_budget"),
)
# Settings (of `settings_text`) that change a training's time by nothing, or by too little to lose
# a measured time for; a test demands that every other one makes another `update_shape`.
NOT_OF_TIME = frozenset((
    *("data.name", "data.format"),  # the hash of the rows says both
    *("teacher.weight", "temperature", "divergence", "mixture", "kept", "top_k"),
    *("learning_rate", "scheduler", "warmup_ratio", "weight_decay", "max_grad_norm", "seed"),
    *("max_steps", "epochs"),  # how many updates, not how long one takes
    *("loss", "alpha", "beta", "label_smoothing", "sft_weight"),
    *("desirable_weight", "undesirable_weight", "sampling_temperature"),
))


def speed_shape(config: Mapping[str, Any]) -> list[object]:
    """What decides how many tokens a second a training reads on one machine, for comparison."""
    student = config["student"]
    followed = [config.get("teacher"), *config.get("more_teachers", ())]
    teachers = [(one["id"], one["folder"]) for one in followed if one]
    values = [_value(config, name) for name in _OF_SPEED]
    is_full = config.get("lora") is None
    kept = [student.get(name) for name in PRUNING]
    return [*values, is_full, student["base_id"], *kept, *teachers]


def update_shape(config: Mapping[str, Any]) -> list[object]:
    """What decides how long an update takes, with its share of what is measured between them."""
    data = config["data"]
    rows = data.get("content_hash") or data["name"]
    return [*speed_shape(config), *(_value(config, name) for name in _OF_AN_UPDATE), rows]


def _value(config: Mapping[str, Any], name: str) -> object:
    """A setting; its default where the run is older than it; None where its method has none."""
    known = RUN_CONFIGS[config["method"]].model_fields
    return config.get(name, known[name].default) if name in known else None
