"""Rotary positions: what of a model's configuration a GGUF file can say."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill_studio.core.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

_THETA = 10_000.0  # of a configuration that names none, as in transformers
_PLAIN = {"rope_type", "type", "rope_theta", "factor", "original_max_position_embeddings"}
_KNOWN: dict[str, set[str]] = {
    "default": {"rope_type", "type", "rope_theta", "partial_rotary_factor"},
    "linear": _PLAIN,
    "llama3": _PLAIN | {"low_freq_factor", "high_freq_factor"},
    "yarn": _PLAIN | {"beta_fast", "beta_slow"},
}


@dataclass(frozen=True)
class Rope:
    """How positions turn.

    Attributes:
        theta: Base of the frequencies.
        kind: default, linear, llama3 or yarn.
        settings: Of the scaling, as in the configuration.
    """

    theta: float
    kind: str
    settings: dict[str, Any]


def read_rope(config: dict[str, Any], way_out: str) -> Rope:
    """Out of `config.json`, of transformers 5 (`rope_parameters`) and before (`rope_scaling`).

    Raises:
        InvalidInput: A scaling that is not written here.
    """
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = found.get("rope_theta") or config.get("rope_theta") or _THETA
    kind = str(found.get("rope_type") or found.get("type") or "default")
    share = found.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    told = {name for name, value in found.items() if value is not None}
    if kind not in _KNOWN or not told <= _KNOWN[kind] | {"partial_rotary_factor"} or share != 1.0:
        raise InvalidInput(
            "The student's rotary positions are of a kind that is not written as GGUF here"
            f" ({kind}: {', '.join(sorted(told))}).",
            way_out,
        )
    settings = {"original_max_position_embeddings": config.get("max_position_embeddings"), **found}
    return Rope(float(theta), kind, settings)


def llama3_factors(rope: Rope, head_dim: int) -> "np.ndarray":
    """What each frequency is divided by, float32 of `head_dim / 2`, see arXiv:2407.21783, 3.4.1.

    As transformers' `_compute_llama3_parameters`: high frequencies stay, low ones are divided by
    `factor`, those between are mixed.
    """
    import numpy as np

    told = rope.settings
    factor, low, high = (
        float(told[name]) for name in ("factor", "low_freq_factor", "high_freq_factor")
    )
    length = float(told["original_max_position_embeddings"])
    frequencies = rope.theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    waves = 2 * math.pi / frequencies
    share = np.clip((length / waves - low) / (high - low), 0.0, 1.0)  # 1 = as it is
    return (1.0 / ((1.0 - share) / factor + share)).astype(np.float32)
