"""The fields of a training's form: their names, words, and which method each belongs to. Pure."""

from distill_studio.distill.presets import PRESETS

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
DPO_LOSSES = [
    ("sigmoid: plain DPO", "sigmoid"),
    ("IPO: a margin to reach, not to exceed", "ipo"),
    ("robust: some preferences are wrong", "robust"),
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
    ("lora_alpha", "LoRA alpha", "scale; empty: twice the rank", int),
    ("warmup_ratio", "Warm-up", "share of the updates", float),
    ("weight_decay", "Weight decay", "of AdamW", float),
    ("max_grad_norm", "Longest gradient", "longer ones are clipped", float),
    ("eval_rows", "Held-out rows", "at most so many", int),
    ("save_every", "Checkpoint every", "updates; from there it resumes", int),
    ("keep_checkpoints", "Checkpoints kept", "after the end, to compare them", int),
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
SHAPE_NUMBERS = ("keep_layers", "lora_alpha")
SCHEDULE_NUMBERS = ("warmup_ratio", "weight_decay", "max_grad_norm")
RHYTHM_NUMBERS = ("eval_rows", "save_every", "keep_checkpoints")
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
    "teacher",
    "more_teachers",
    "divergence",
    "signal",
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
_FALLBACKS: dict[str, float] = {
    "lora_r": 16,
    "warmup_ratio": 0.05,
    "weight_decay": 0,
    "max_grad_norm": 1,
    "eval_rows": 64,
    "save_every": 50,
    "keep_checkpoints": 0,
    "devices": 1,
    "grad_accumulation": 1,
    "seed": 17,
    "top_k": 64,
    "temperature": 1,
    "teacher_weight": 1,
    "sampling_temperature": 1,
    "sft_weight": 0,
    "feature_weight": 0,
}


def placeholder(field: str, method: str, preset: str) -> str:
    """What a field is worth when it is left empty."""
    found = PRESETS[method].get(preset)
    value = (found.values if found else {}).get(field, _FALLBACKS.get(field))
    return "" if value is None else f"{value:g}"


def preset_choices(method: str) -> list[tuple[str, str]]:
    """(label, id) of a method's presets."""
    return [(preset.label, preset.name) for preset in PRESETS[method].values()]


def preset_text(method: str, preset: str) -> str:
    """What a preset does, in a sentence with its figures."""
    found = PRESETS[method].get(preset)
    if found is None:
        return ""
    values = found.values
    length = f"rows of up to {values['max_length']} tokens"
    return f"{found.description} Learning rate {values['learning_rate']:g}, {length}."
