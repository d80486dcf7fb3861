"""Presets per method, and how a `TrainSpec` becomes a `RunConfig`. Torch-free.

Rates are for students of some hundred million weights: SFT with LoRA at 5e-4 lowered the
held-out loss of SmolLM2-135M from 1.91 to 1.77 in 60 updates of 4 x 256 tokens. Larger students
want less (1e-4 to 2e-4 with LoRA near 7B, 2e-5 in full; DPO 5e-7 in full, 5e-6 with LoRA).
"""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from distill_studio.core.errors import Conflict, InvalidInput
from distill_studio.core.records.base import Record
from distill_studio.distill.config import (
    RUN_CONFIGS,
    DataConfig,
    FeatureConfig,
    LoraConfig,
    Method,
    RunConfig,
    StudentConfig,
    TeacherConfig,
    parse_config,
)
from distill_studio.distill.labels import LEAST_KTO_BATCH
from distill_studio.distill.layer_pairs import parse_pairs
from distill_studio.distill.spec import OWNERS, SHARED, TrainSpec


class Preset(Record):
    """A named starting point."""

    name: str = Field(description="Short id.")
    method: Method = Field(description="sft, dpo, kto, logit or on_policy.")
    label: str = Field(description="For the list.")
    description: str = Field(description="What to expect, honestly.")
    values: dict[str, Any] = Field(description="Fields of run.json that it sets.")
    full_learning_rate: float = Field(description="Rate when all weights train.")


_BASES: dict[Method, dict[str, Any]] = {
    "sft": {"learning_rate": 5e-4, "batch_size": 4, "max_length": 256},
    "dpo": {"learning_rate": 1e-4, "batch_size": 2, "max_length": 384, "beta": 0.1},
    "kto": {"learning_rate": 1e-4, "batch_size": 4, "max_length": 384, "beta": 0.1},
    "on_policy": {
        "learning_rate": 1e-4,
        "batch_size": 4,
        "max_length": 256,
        "answer_tokens": 64,
        "temperature": 1.0,
    },
    # weights as the field finds best where the teacher is much better than the labels
    "logit": {
        "learning_rate": 5e-4,
        "batch_size": 4,
        "max_length": 256,
        "alpha": 0.1,
        "beta": 0.9,
        "temperature": 1.0,
    },
}
_FULL_RATES: dict[Method, float] = {
    "sft": 5e-5,
    "dpo": 5e-6,
    "kto": 5e-6,
    "on_policy": 5e-5,
    "logit": 2e-4,
}


def _preset(method: Method, name: str, label: str, description: str, **values: Any) -> Preset:  # noqa: ANN401
    return Preset(
        name=name,
        method=method,
        label=label,
        description=description,
        values=_BASES[method] | values,
        full_learning_rate=_FULL_RATES[method],
    )


_PRESETS = (
    _preset(
        "sft",
        "quick",
        "Quick look",
        "20 updates of 4 rows. Shows that everything works; the student barely changes.",
        max_steps=20,
        eval_every=10,
        eval_rows=16,
        save_every=10,
    ),
    _preset(
        "sft",
        "balanced",
        "Balanced",
        "60 updates of 4 rows. A clear step towards the teacher's style in some minutes on a CPU.",
        max_steps=60,
        eval_every=20,
        eval_rows=32,
        save_every=20,
    ),
    _preset(
        "sft",
        "thorough",
        "Thorough",
        "3 passes over all rows of up to 512 tokens. For a GPU, or a night on a CPU.",
        epochs=3.0,
        max_length=512,
        grad_accumulation=2,
        learning_rate=3e-4,
        eval_every=50,
        eval_rows=128,
        save_every=50,
    ),
    _preset(
        "dpo",
        "quick",
        "Quick look",
        "15 updates of 2 pairs. Shows that everything works; preferences barely move.",
        max_steps=15,
        eval_every=15,
        eval_rows=16,
        save_every=15,
    ),
    _preset(
        "dpo",
        "balanced",
        "Balanced",
        "60 updates of 4 pairs (2 x 2). Raises the margin on held-out pairs in some minutes.",
        max_steps=60,
        grad_accumulation=2,
        eval_every=20,
        eval_rows=32,
        save_every=20,
    ),
    _preset(
        "dpo",
        "thorough",
        "Thorough",
        "2 passes over all pairs of up to 768 tokens. For a GPU, or a night on a CPU.",
        epochs=2.0,
        max_length=768,
        grad_accumulation=8,
        learning_rate=5e-5,
        eval_every=25,
        eval_rows=128,
        save_every=25,
    ),
    _preset(
        "kto",
        "quick",
        "Quick look",
        "15 updates of 4 answers. Shows that everything works; preferences barely move.",
        max_steps=15,
        eval_every=15,
        eval_rows=16,
        save_every=15,
    ),
    _preset(
        "kto",
        "balanced",
        "Balanced",
        "60 updates of 8 answers (2 x 4). Parts accepted from rejected answers in some minutes.",
        max_steps=60,
        grad_accumulation=2,
        eval_every=20,
        eval_rows=32,
        save_every=20,
    ),
    _preset(
        "kto",
        "thorough",
        "Thorough",
        "2 passes over all answers of up to 768 tokens. For a GPU, or a night on a CPU.",
        epochs=2.0,
        max_length=768,
        grad_accumulation=4,
        learning_rate=5e-5,
        eval_every=25,
        eval_rows=128,
        save_every=25,
    ),
    _preset(
        "logit",
        "quick",
        "Quick look",
        "20 updates of 4 rows. Shows that everything works; a pruned student begins to recover.",
        max_steps=20,
        eval_every=10,
        eval_rows=16,
        save_every=10,
    ),
    _preset(
        "logit",
        "balanced",
        "Balanced",
        "80 updates of 4 rows. Brings a pruned student back to the teacher's words in some"
        " minutes on a CPU.",
        max_steps=80,
        eval_every=20,
        eval_rows=32,
        save_every=20,
    ),
    _preset(
        "logit",
        "thorough",
        "Thorough",
        "3 passes over all rows of up to 512 tokens; store the teacher's signal first. For a GPU,"
        " or a night on a CPU.",
        epochs=3.0,
        max_length=512,
        grad_accumulation=2,
        learning_rate=3e-4,
        signal="cache",
        eval_every=50,
        eval_rows=128,
        save_every=50,
    ),
    _preset(
        "on_policy",
        "quick",
        "Quick look",
        "10 updates of 4 prompts. Shows that everything works; the student barely changes.",
        max_steps=10,
        eval_every=10,
        eval_rows=8,
        save_every=10,
    ),
    _preset(
        "on_policy",
        "balanced",
        "Balanced",
        "40 updates of 4 prompts, answers of up to 64 tokens. Best as the last stage, after SFT.",
        max_steps=40,
        eval_every=20,
        eval_rows=16,
        save_every=20,
    ),
    _preset(
        "on_policy",
        "thorough",
        "Thorough",
        "One pass over all prompts, answers of up to 256 tokens. For a GPU.",
        epochs=1.0,
        max_length=768,
        answer_tokens=256,
        grad_accumulation=4,
        eval_every=50,
        eval_rows=64,
        save_every=50,
    ),
)
PRESETS: dict[str, dict[str, Preset]] = {
    method: {p.name: p for p in _PRESETS if p.method == method} for method in RUN_CONFIGS
}
# What a variant of DPO wants where nothing is said.
LOSS_DEFAULTS: dict[str, dict[str, float]] = {
    "robust": {"label_smoothing": 0.1},  # one preference in ten is wrong
    "sigmoid_norm": {"beta": 5.0},  # of means per token: Tulu 3 (arXiv:2411.15124)
}
# Fields of a choice that run.json has under the same name, as they were chosen.
COPIED = tuple(name for name in SHARED if name not in ("teacher", "more_teachers"))


def preset_values(preset: Preset, weights: str) -> dict[str, Any]:
    """Fields of run.json that a preset sets: all weights want another rate than an adapter."""
    values = dict(preset.values)
    if weights == "full":
        values["learning_rate"] = preset.full_learning_rate
    return values


def build_config(
    spec: TrainSpec,
    name: str,
    student: StudentConfig,
    data: DataConfig,
    device: str = "auto",
    teachers: Sequence[TeacherConfig] = (),
    cache_folder: str = "",
) -> RunConfig:
    """The preset's values, then the spec's own, as a checked `RunConfig`.

    Args:
        spec: What was chosen.
        name: Of the run.
        student: Resolved.
        data: Resolved.
        device: From the settings.
        teachers: Resolved, the first of them first; for methods that follow some.
        cache_folder: Where stored teacher signals lie; logit distillation only.

    Raises:
        InvalidInput: Unknown preset.
    """
    presets = PRESETS[spec.method]
    if spec.preset not in presets:
        raise InvalidInput(
            f"There is no preset '{spec.preset}' for {spec.method}.",
            f"Choose one of: {', '.join(presets)}.",
        )
    values = preset_values(presets[spec.preset], spec.weights)
    chosen = {key: value for key in COPIED if (value := getattr(spec, key)) is not None}
    if "epochs" in chosen and "max_steps" not in chosen:
        values.pop("max_steps", None)
    lora = None
    if spec.weights == "lora":
        rank = spec.lora_r or 16
        names = tuple((spec.lora_layers or "").replace(",", " ").split())
        lora = LoraConfig(r=rank, alpha=spec.lora_alpha or 2 * rank, target_modules=names)
    fields = values | LOSS_DEFAULTS.get(spec.dpo_loss or "", {}) | chosen
    if spec.dpo_loss is not None:
        fields["loss"] = spec.dpo_loss
    if spec.method == "logit":
        fields |= {"cache_folder": cache_folder, "features": _features(spec)}
    if teachers and spec.method in OWNERS["teacher"]:
        fields |= {"teacher": teachers[0], "more_teachers": tuple(teachers[1:])}
        if teachers[0].server is not None and spec.method == "logit" and spec.signal is None:
            fields["signal"] = "cache"  # a server can be asked no other way
    config = RUN_CONFIGS[spec.method](
        name=name, student=student, data=data, lora=lora, device=device, **fields
    )
    return parse_config(config.model_dump_json())


def _features(spec: TrainSpec) -> FeatureConfig | None:
    """Hidden states, where any of their settings asks for them and the weight is not 0."""
    asked = spec.feature_weight, spec.feature_loss, spec.feature_layers
    if spec.feature_weight == 0.0 or not any(asked):
        return None
    return FeatureConfig(
        weight=spec.feature_weight or 1.0,
        loss=spec.feature_loss or "cosine",
        pairs=parse_pairs(spec.feature_layers or ""),
    )


def passes_of_lighter(method: str, batch: int) -> int:
    """Into how many smaller batches one falls; 0 where there is no smaller one.

    KTO compares the rows of a batch with each other, so it wants two.
    """
    least = LEAST_KTO_BATCH if method == "kto" else 1
    return next((d for d in range(2, batch + 1) if batch % d == 0 and batch // d >= least), 0)


def lighter_config(config: RunConfig) -> RunConfig:
    """The same updates in smaller batches: half the rows at once, twice as many passes.

    Not quite the same for KTO: a row is compared with another one of its batch, which is smaller.

    Raises:
        Conflict: The batch is as small as it can be already.
    """
    batch = config.batch_size
    parts = passes_of_lighter(config.method, batch)
    if not parts:
        raise Conflict(
            "The batch is one row already."
            if batch == 1
            else f"KTO compares the {batch} rows of a batch, and fewer would not do.",
            "Start anew with a lower longest length, LoRA or a smaller student.",
        )
    fields = {"batch_size": batch // parts, "grad_accumulation": config.grad_accumulation * parts}
    return config.model_copy(update=fields)
