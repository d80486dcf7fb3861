"""What the held-out figures of a run measure, and whether two runs measured the same. Torch-free.

`kl_words` says what stands behind "KL to the teacher"; `unlike` names the settings that keep a
figure of one run from being compared with another's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distill_studio.distill.config import PRUNING
from distill_studio.distill.settings_text import SETTINGS, settings_of


class KlWords(NamedTuple):
    """How a run's held-out divergence is called, and what it is."""

    label: str
    about: str


_NAMES = {
    "forward_kl": "KL to the teacher",
    "reverse_kl": "reverse KL to the teacher",
    "jsd": "JSD to the teacher",
    "skewed_kl": "skewed KL to the teacher",
    "skewed_reverse_kl": "skewed reverse KL to the teacher",
}
# What stands in the place of the KL where teacher and student have other tokenizers.
_ACROSS = {
    "uld": KlWords(
        "ULD to the teacher",
        "L1 distance of both models' sorted probabilities (0 to 2), summed over the stretches of"
        " tokens that write the same text, per learned token of the held-out rows.",
    ),
    "hybrid": KlWords(
        "hybrid distance to the teacher",
        "KL of the tokens that both vocabularies have and L1 distance of the others, sorted; summed"
        " over the stretches of tokens that write the same text, per learned token of the held-out"
        " rows.",
    ),
}
# What every held-out figure is measured on.
_ROWS = (
    "data.content_hash",
    "data.name",
    "eval_rows",
    "max_length",
    "over_length",
    "learn",
    "reasoning_share",
    "reasoning_budget",
)
_TEACHER = (
    "teacher.id",
    "teacher.weight",
    "more_teachers",
    "divergence",
    "mixture",
    "across_tokenizers",
    "temperature",
    "signal",
    "kept",
    "top_k",
)
_OWN = ("sampling_temperature", "answer_tokens")
_WEIGHTS = (
    "alpha",
    "beta",
    "loss",
    "label_smoothing",
    "sft_weight",
    "desirable_weight",
    "undesirable_weight",
)
# A held-out loss of KTO compares each answer with another row's of its batch.
_KTO_BATCHES = ("batch_size", "devices")
# Figure -> the settings it depends on beside the student.
_DEPENDS: dict[str, tuple[str, ...]] = {
    "loss": ("method", *_ROWS, *_TEACHER, *_OWN, *_WEIGHTS),
    "ce": _ROWS,
    "kl": (*_ROWS, *_TEACHER, *_OWN),
    "features": (*_ROWS, "teacher.id", "features.loss", "features.pairs"),
    "margin": ("method", *_ROWS, "beta"),
    "accuracy": ("method", *_ROWS),
    "logp_margin": ("method", *_ROWS),
}
# Settings that no held-out figure depends on but through the student that they make; a test demands
# that every other one keeps some figure from being compared.
NOT_MEASURED = frozenset((
    *("student.base_id", *(f"student.{name}" for name in PRUNING)),
    "data.format",  # of the rows, the hash says it
    *("lora.r", "lora.alpha", "lora.dropout", "lora.target_modules"),
    *("learning_rate", "scheduler", "warmup_ratio", "weight_decay", "max_grad_norm", "seed"),
    *("max_steps", "epochs", "grad_accumulation", "sharding", "packing", "reference"),
    "features.weight",  # joins the loss in training alone
    *("eval_every", "dtype", "quantise", "device"),
))


def kl_words(config: Mapping[str, Any]) -> KlWords:
    """The words for `kl` of a run's evaluations.

    A store of the teacher's top-k gives KL over those ids and one bucket for all others, which is
    never above the KL over the vocabulary; draws give an estimate. Both differ from the figure of a
    teacher that is asked at each update.
    """
    if (across := config.get("across_tokenizers")) in _ACROSS:
        return _ACROSS[across]
    name = _NAMES.get(str(config.get("divergence", "forward_kl")), _NAMES["forward_kl"])
    about = "Over the whole vocabulary, per learned token of the held-out rows."
    if config.get("method") == "on_policy":
        about = "Over the whole vocabulary, on the student's own answers to the held-out prompts."
    label = name
    if config.get("signal") == "cache":
        kept = config.get("top_k", 64)
        if config.get("kept") == "draws":
            label = f"{name}, estimated"
            about = f"Estimated from {kept} stored draws per token: right on average, with noise."
        else:
            label = f"{name}, lower bound"
            about = (
                f"Over the teacher's {kept} likeliest ids and one bucket for all others: the KL"
                " over the whole vocabulary is at least this."
            )
        about += " Not to be compared with the figure of a teacher asked at each update."
    temperature = config.get("temperature", 1.0)
    if temperature != 1.0:
        about += f" At temperature {temperature:g}, times its square."
    return KlWords(label, about)


def kl_label_of(configs: Sequence[Mapping[str, Any]]) -> str:
    """What the divergence of several runs is called: by its own name where they have just one."""
    labels = {kl_words(config).label for config in configs}
    return labels.pop() if len(labels) == 1 else "distance to the teacher"


def unlike(figure: str, configs: list[Mapping[str, Any]]) -> list[str]:
    """Words of the settings in which runs differ and on which a figure depends; [] = comparable.

    Args:
        figure: loss, ce, kl, features, margin, accuracy or logp_margin.
        configs: A run.json of each run.
    """
    found = [settings_of(config) for config in configs]
    depends = _DEPENDS.get(figure, ())
    if figure == "loss" and any(config.get("method") == "kto" for config in configs):
        depends += _KTO_BATCHES
    return [
        SETTINGS[path].split(",")[0]
        for path in depends
        if len({repr(one.get(path)) for one in found}) > 1
    ]
