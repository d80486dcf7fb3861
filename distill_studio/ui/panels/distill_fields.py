"""The fields of a training's form: their names, words, and which method each belongs to. Pure."""

from collections.abc import Mapping
from typing import Any

from distill_studio.distill import trackers
from distill_studio.distill.config import RUN_CONFIGS, LoraConfig, TeacherConfig
from distill_studio.distill.presets import LOSS_DEFAULTS, PRESETS, preset_values

METHODS = [
    ("SFT: learn the answers", "sft"),
    ("DPO: learn the preferences", "dpo"),
    ("KTO: learn from accepted and rejected answers", "kto"),
    ("Logit distillation: learn the teacher's probabilities", "logit"),
    ("On-policy: answer, and hear what the teacher would have said", "on_policy"),
]
DIVERGENCES = [
    ("forward KL: all that the teacher finds likely", "forward_kl"),
    ("reverse KL: only what it finds likely", "reverse_kl"),
    ("JSD: between the two", "jsd"),
    ("skewed KL", "skewed_kl"),
    ("skewed reverse KL", "skewed_reverse_kl"),
]
SIGNALS = [
    ("at each update", "online"),
    ("once: store the top-k and their tail", "top_k"),
    ("once: store random draws", "draws"),
]
ACROSS = [
    ("answers alone", "answers"),
    ("sorted probabilities (ULD)", "uld"),
    ("KL of shared tokens, others sorted (hybrid)", "hybrid"),
]
DPO_LOSSES = [
    ("DPO (sigmoid)", "sigmoid"),
    ("IPO: pairs apart by a margin shall not drift further", "ipo"),
    ("hinge (SLiC): pairs apart by a margin shall be left alone", "hinge"),
    ("robust DPO: some preferences are wrong", "robust"),
    ("DPO per token: chosen answers are longer", "sigmoid_norm"),
    ("APO zero: chosen answers beat the student's own, as a teacher's do", "apo_zero"),
    ("APO down: the student's own answers beat even the chosen", "apo_down"),
    ("NCA: chosen answers shall not become less likely", "nca_pair"),
]
REFERENCES = [
    ("by what is trained", ""),
    ("adapter off, at each update", "adapter_off"),
    ("stored before the first", "stored"),
]
SCHEDULERS = [
    ("in a half wave (cosine)", "cosine"),
    ("in a line", "linear"),
    ("not at all", "constant"),
]
DTYPES = [("measured: the quicker", "auto"), ("bf16", "bf16"), ("fp32", "fp32")]
QUANTISE = [("as they are", "none"), ("in four bits (QLoRA)", "nf4")]
SHARDINGS = [("whole on each device", "none"), ("spread over all (FSDP)", "fsdp")]
TRACKERS = [("nowhere else", "none"), *((label, name) for name, label in trackers.TRACKERS.items())]
FEATURE_LOSSES = [("direction (cosine)", "cosine"), ("squared error", "mse")]

# field, label, what it is, kind of number
_NUMBERS: tuple[tuple[str, str, str, type[int] | type[float]], ...] = (
    ("max_length", "Longest length", "tokens of a row", int),
    ("learning_rate", "Learning rate", "at its peak", float),
    ("max_steps", "Updates", "or by passes", int),
    ("epochs", "Passes", "instead of updates", float),
    ("batch_size", "Batch size", "rows at a time", int),
    ("grad_accumulation", "Accumulation", "batches per update", int),
    ("lora_r", "LoRA rank", "size of the adapter", int),
    ("beta", "Beta", "DPO, KTO: pull; logit: KL", float),
    ("eval_every", "Held-out loss every", "updates", int),
    ("seed", "Seed", "order of rows", int),
    ("keep_layers", "Layers to keep", "any depth; empty: as chosen above", int),
    ("keep_mlp", "MLP neurons to keep", "share of each layer, as 0.75; empty: all", float),
    ("keep_groups", "Key/value groups to keep", "of each layer's attention; empty: all", int),
    ("keep_hidden", "Hidden channels to keep", "share, alike in all layers; empty: all", float),
    ("lora_alpha", "LoRA alpha", "scale; empty: twice the rank", int),
    ("warmup_ratio", "Warm-up", "share of the updates", float),
    ("weight_decay", "Weight decay", "of AdamW", float),
    ("max_grad_norm", "Longest gradient", "longer ones are clipped", float),
    ("eval_rows", "Held-out rows", "at most so many", int),
    ("save_every", "Checkpoint every", "updates; from there it resumes", int),
    ("keep_checkpoints", "Checkpoints kept", "after the end, to compare them", int),
    ("samples", "Sample answers", "held-out prompts answered at each evaluation", int),
    ("devices", "Devices", "GPUs that train together", int),
    ("mixture", "Mixture", "of JSD, skewed KL; empty: 0.5, 0.1", float),
    ("alpha", "Alpha", "weight of the answers", float),
    ("temperature", "Temperature", "of both softmaxes", float),
    ("top_k", "Kept per token", "ids or draws, if stored", int),
    ("teacher_weight", "Weight of the teacher", "among several", float),
    ("sampling_temperature", "Sampling temperature", "of the student's answers", float),
    ("answer_tokens", "Longest answer", "tokens the student writes", int),
    ("reasoning_share", "Rows with reasoning", "share that keeps it; empty: as frozen", float),
    ("reasoning_budget", "Longest reasoning", "tokens; longer: learned without", int),
    ("label_smoothing", "Wrong preferences", "share of them; robust only", float),
    ("sft_weight", "Weight of SFT", "on the chosen answers; empty: none", float),
    ("desirable_weight", "Weight of accepted answers", "empty: by balance", float),
    ("undesirable_weight", "Weight of rejected answers", "empty: by balance", float),
    ("feature_weight", "Weight of hidden states", "1 = as much as the KL; empty or 0: none", float),
)
NUMBERS = {name: (label, info, kind) for name, label, info, kind in _NUMBERS}
COMMON_NUMBERS = tuple(name for name, *_ in _NUMBERS[:10])
# of those, the ones that a preset sets
PRESET_NUMBERS = COMMON_NUMBERS[:6]
SCHEDULE_NUMBERS = ("lora_alpha", "warmup_ratio", "weight_decay", "max_grad_norm")
RHYTHM_NUMBERS = ("eval_rows", "samples", "save_every", "keep_checkpoints")
MIXED = ("jsd", "skewed_kl", "skewed_reverse_kl")  # divergences that have a mixture
LOGIT_NUMBERS = ("alpha", "top_k")
ON_POLICY_NUMBERS = ("sampling_temperature", "answer_tokens")
REASONING_NUMBERS = ("reasoning_share", "reasoning_budget")
DPO_NUMBERS = ("label_smoothing", "sft_weight")
KTO_NUMBERS = ("desirable_weight", "undesirable_weight")
# in the order in which the form hands its values over
FIELD_NAMES = (
    "snapshot",
    "method",
    "student",
    "preset",
    "weights",
    "over_length",
    "learn",
    "packing",
    "scheduler",
    "dtype",
    "quantise",
    "sharding",
    "tracker",
    "teacher",
    "more_teachers",
    "divergence",
    "signal",
    "across_tokenizers",
    "feature_loss",
    "feature_layers",
    "dpo_loss",
    "reference",
    "name",
    *NUMBERS,
)
# What `train`, the API and run.json can set, and no field of the form is for, with the reason.
NOT_IN_THE_FORM = {
    "kept": "part of how the teacher is asked",
    "lora_layers": "by default all linear layers; other names only a model's maker knows",
}
# groups of fields that are shown for some methods only
GROUPS: dict[str, tuple[str, ...]] = {
    "teacher": ("logit", "on_policy"),
    "logit": ("logit",),
    "on_policy": ("on_policy",),
    "dpo": ("dpo",),
    "kto": ("kto",),
    "reference": ("dpo", "kto"),
    "reasoning": ("sft", "logit"),
}
# What run.json calls otherwise, and what an empty field of the form leaves out.
_ELSEWHERE: dict[str, float] = {
    "lora_r": LoraConfig.model_fields["r"].default,
    "teacher_weight": TeacherConfig.model_fields["weight"].default,
    "feature_weight": 0,
}
_FOLLOWS_ANOTHER = {"epochs", "max_steps", "label_smoothing"}  # its default depends on a choice


def placeholder(
    field: str, method: str, preset: str, weights: str, dpo_loss: str = "sigmoid"
) -> str:
    """What a field is worth when it is left empty."""
    found = PRESETS[method].get(preset)
    values = preset_values(found, weights) if found else {}
    if method == "dpo":
        values |= LOSS_DEFAULTS.get(dpo_loss, {})
    value = values.get(field, _default(field, method))
    return f"{value:g}" if isinstance(value, int | float) else ""


def _default(field: str, method: str) -> Any:  # noqa: ANN401  (of any field)
    """Of run.json; None where it has none."""
    if field in _FOLLOWS_ANOTHER:
        return None
    named = RUN_CONFIGS[method].model_fields.get(field)
    return named.default if named is not None else _ELSEWHERE.get(field)


def preset_choices(method: str) -> list[tuple[str, str]]:
    """(label, id) of a method's presets."""
    return [(preset.label, preset.name) for preset in PRESETS[method].values()]


def preset_text(method: str, preset: str, weights: str, own: Mapping[str, str]) -> str:
    """What a preset does, in a sentence with its figures; then the fields filled in instead.

    Args:
        method: Of training.
        preset: Its name.
        weights: lora or full.
        own: Number fields of the form; '' where they follow the preset.
    """
    found = PRESETS[method].get(preset)
    if found is None:
        return ""
    values = preset_values(found, weights)
    length = f"rows of up to {values['max_length']} tokens"
    said = f"{found.description} Learning rate {values['learning_rate']:g}, {length}."
    filled = [f"{NUMBERS[f][0].lower()} {text.strip()}" for f, text in own.items() if text.strip()]
    return said + (f" Instead of the preset: {', '.join(filled)}." if filled else "")
