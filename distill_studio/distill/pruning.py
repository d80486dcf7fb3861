"""What is left of a pruned student: its shape, and which models can be narrowed. Torch-free.

`kept_shape` counts for pre-flight what `prune.py` (whole layers) and `prune_width.py` (neurons,
heads, channels of every layer) then leave; `refuse_layout` reads the names of the weights.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.config import StudentConfig

NORMS = 2  # of a decoder layer, each as wide as the hidden states
_STEP = 8  # kernels like widths that divide by it
# What a layer that can be narrowed is made of, and nothing else: name -> its shape (out, in).
MATRICES: dict[str, tuple[str, str]] = {
    "self_attn.q_proj": ("queries", "hidden"),
    "self_attn.k_proj": ("keys", "hidden"),
    "self_attn.v_proj": ("keys", "hidden"),
    "self_attn.o_proj": ("hidden", "queries"),
    "mlp.gate_proj": ("neurons", "hidden"),
    "mlp.up_proj": ("neurons", "hidden"),
    "mlp.down_proj": ("hidden", "neurons"),
}
# Plain RMSNorm and embeddings that are not scaled by the width: tests show that channels of theirs
# which are always zero can go.
_PLAIN_CHANNELS = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
# transformers 5.23 refuses to load these where the heads do not divide the hidden size, though
# nothing depends on it.
_HEADS_DIVIDE_HIDDEN = (
    *("arcee", "cwm", "gemma2", "gemma3_text", "hyperclovax", "internlm3", "iquestcoder"),
    *("jais2", "llama", "minicpm3", "vaultgemma"),
)
_WORDS = {
    "keep_layers": "{} layers",
    "keep_mlp": "{:.3g} of the MLP neurons",
    "keep_groups": "{} key/value groups",
    "keep_hidden": "{:.3g} of the channels",
}
_IN_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.(.+)\.weight$")
_SEPARATE = "separate projections for queries, keys and values and a gated MLP"
_OTHER_WAYS = "Drop layers instead, or choose a model of the Llama, Qwen3, Gemma or SmolLM3 kind."


@dataclass(frozen=True)
class Shape:
    """The numbers of a decoder that pruning changes."""

    layers: int
    hidden: int  # channels of the hidden states
    neurons: int  # of each layer's MLP
    heads: int  # of each layer's queries
    groups: int  # of those that share a key/value head
    head_dim: int

    @property
    def queries(self) -> int:
        """Rows of the query projection."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Rows of the key and of the value projection."""
        return self.groups * self.head_dim

    @property
    def layer_weights(self) -> int:
        """Of one Llama-like layer, without biases."""
        attention = 2 * self.hidden * (self.queries + self.keys)
        return attention + 3 * self.hidden * self.neurons + NORMS * self.hidden


def kept_shape(shape: Shape, student: StudentConfig) -> Shape:
    """What pruning leaves; never more than there is.

    A share of neurons or channels is rounded to a multiple of 8 where the whole is one; channels to
    one that the heads divide, too, as some architectures demand.
    """
    groups = min(student.keep_groups or shape.groups, shape.groups)
    heads = shape.heads // max(shape.groups, 1) * groups
    return Shape(
        layers=min(student.keep_layers or shape.layers, shape.layers),
        hidden=_share(student.keep_hidden, shape.hidden, math.lcm(_STEP, heads or 1)),
        neurons=_share(student.keep_mlp, shape.neurons, _STEP),
        heads=heads,
        groups=groups,
        head_dim=shape.head_dim,
    )


def _share(share: float | None, of: int, step: int) -> int:
    if share is None:
        return of
    step = step if of % step == 0 else 1
    return min(of, max(step, step * round(share * of / step)))


def is_narrowed(before: Shape, after: Shape) -> bool:
    """Whether anything but the number of layers changes."""
    found = (before.hidden, before.neurons, before.groups)
    return found != (after.hidden, after.neurons, after.groups)


def refuse_layout(
    weights: Mapping[str, tuple[int, ...]], model_type: str, before: Shape, after: Shape
) -> None:
    """Refuse what cannot be narrowed: only layers of seven separate projections can.

    Args:
        weights: Shapes of all weights by name; empty where they cannot be read yet.
        model_type: Of the config.
        before: The shape of the model.
        after: The one that is wanted.

    Raises:
        InvalidInput: Another layout (a mixture of experts, fused projections), norms over all
            heads, or channels of a model that is not known to stand their loss.
    """
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, size in weights.items():
        if match := _IN_LAYER.search(name):
            layer, part = match.groups()
            found.setdefault(f"{name[: match.start()]}.{layer}", {}).setdefault(part, size)
    for parts in found.values():
        _refuse_layer(parts, model_type, before, is_narrower=before.groups != after.groups)
    if weights and not found:
        raise InvalidInput(
            f"The layers of models of type {model_type} cannot be reached here.",
            "Train it whole, or choose a model of the Llama, Qwen3, Gemma or SmolLM3 kind.",
        )
    if after.hidden != before.hidden and model_type not in _PLAIN_CHANNELS:
        raise InvalidInput(
            f"Models of type {model_type} cannot lose channels of their hidden states here: it is"
            f" known of {', '.join(_PLAIN_CHANNELS)} that the others then mean what they meant.",
            "Keep all channels; neurons and key/value groups can go.",
        )
    if model_type in _HEADS_DIVIDE_HIDDEN and after.hidden % max(after.heads, 1):
        raise InvalidInput(
            f"{after.heads} heads do not divide the {after.hidden} channels of the hidden states,"
            f" and models of type {model_type} do not load then.",
            "Keep another number of key/value groups, or another share of the channels.",
        )


def _refuse_layer(
    parts: Mapping[str, tuple[int, ...]], model_type: str, shape: Shape, *, is_narrower: bool
) -> None:
    """Refuse a layer by the shapes of its parts; `is_narrower`: heads are to go."""
    wide = {name: size for name, size in parts.items() if len(size) > 1}
    expected = {
        name: (getattr(shape, rows), getattr(shape, columns))
        for name, (rows, columns) in MATRICES.items()
    }
    unknown, missing = sorted(wide.keys() - expected), sorted(expected.keys() - wide)
    if any("expert" in name for name in unknown):
        why = "their layers are mixtures of experts"
    elif unknown or missing:
        instead = ", ".join(unknown[:3]) or f"no {missing[0]}"
        why = f"their layers hold {instead}, not {_SEPARATE}"
    else:
        odd = [name for name in expected if wide[name] != expected[name]]
        why = f"their {odd[0]} is {wide[odd[0]]}, not {expected[odd[0]]}" if odd else ""
    if why:
        raise InvalidInput(f"Models of type {model_type} cannot be narrowed: {why}.", _OTHER_WAYS)
    norms = {n: s for n, s in parts.items() if n.startswith("self_attn.") and n not in MATRICES}
    if is_narrower and any(size != (shape.head_dim,) for size in norms.values()):
        raise InvalidInput(
            f"Heads of models of type {model_type} cannot go: {', '.join(norms)} is over all heads"
            " at once.",
            "Keep all key/value groups; neurons can go.",
        )


def pruning_text(student: Mapping[str, Any]) -> str:
    """What a `student` of run.json keeps: "24 layers, 0.75 of the MLP neurons"; '' for all."""
    return ", ".join(
        words.format(value) for name, words in _WORDS.items() if (value := student.get(name))
    )


def changes_text(before: Shape, after: Shape) -> str:
    """What goes: "6 of 30 layers are dropped, each MLP keeps 1,152 of 1,536 neurons"."""
    said = []
    if after.layers != before.layers:
        said.append(f"{before.layers - after.layers} of {before.layers} layers are dropped")
    if after.neurons != before.neurons:
        said.append(f"each MLP keeps {after.neurons:,} of {before.neurons:,} neurons")
    if after.groups != before.groups:
        said.append(
            f"each attention keeps {after.groups} of {before.groups} key/value groups"
            f" ({after.heads} of {before.heads} heads)"
        )
    if after.hidden != before.hidden:
        said.append(f"hidden states keep {after.hidden:,} of {before.hidden:,} channels")
    return ", ".join(said)


def weights_text(count: int) -> str:
    """A number of weights: "134.5 M", "1.24 B"; in full below a million."""
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count:,}"
