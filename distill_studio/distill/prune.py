"""A smaller student by dropping whole layers: `prune(model, tokenizer, texts, keep)`.

Layers of least block influence go first: influence = 1 - cos(input, output), averaged over
tokens (ShortGPT, arXiv:2403.03853, eq. 1; also how Minitron ranks depth). The pruned
model speaks badly until it is trained: the price of a third less time and memory.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_studio.core.errors import InvalidInput

# Names in the configs of transformers 5.23: lists of layers by number, first layers by count, and
# lists of other things.
_INDICES = ("mlp_only_layers", "moe_layers", "rope_scaling_layers")
_BELOW = ("max_window_layers", "first_k_dense_replace", "num_dense_layers")
_ALIKE = 0.02  # of the largest logit: kernels and bf16 differ by less, other wiring by more
_OF_NO_LAYER = re.compile(r"(_tokens?_ids?|_tokens|_words_ids|architectures|_at_inference)$")


@dataclass(frozen=True)
class PruneReport:
    """What was dropped and why."""

    kept: list[int]
    of: int
    influence: list[float]


def layers_to_keep(influence: Sequence[float], keep: int) -> list[int]:
    """Indices of the `keep` layers of most influence, in order; the earlier one wins a tie.

    Raises:
        InvalidInput: More layers wanted than there are.
    """
    if not 1 <= keep <= len(influence):
        raise InvalidInput(
            f"The model has {len(influence)} layers; {keep} cannot be kept.",
            f"Choose 1 to {len(influence)}.",
        )
    ranked = sorted(range(len(influence)), key=lambda i: (-influence[i], i))
    return sorted(ranked[:keep])


def block_influence(model: Any, batches_BT: Sequence[Any]) -> list[float]:  # noqa: ANN401
    """Influence of each layer over token ids of shape (B, T), one tensor per batch.

    Args:
        model: A transformers causal LM with decoder layers.
        batches_BT: Token ids without padding.
    """
    import torch

    layers = decoder_layers(model)
    sums, count = [0.0] * len(layers), 0

    def watch(index: int) -> Any:  # noqa: ANN401
        def hook(_module: Any, args: Any, kwargs: Any, output: Any) -> None:  # noqa: ANN401
            before_BTH = args[0] if args else kwargs["hidden_states"]
            after_BTH = output[0] if isinstance(output, tuple) else output
            cosine_BT = torch.nn.functional.cosine_similarity(
                before_BTH.float(), after_BTH.float(), dim=-1
            )
            sums[index] += float((1 - cosine_BT).sum())

        return hook

    handles = [
        layer.register_forward_hook(watch(i), with_kwargs=True) for i, layer in enumerate(layers)
    ]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for ids_BT in batches_BT:
                model(input_ids=ids_BT, use_cache=False, logits_to_keep=1)
                count += ids_BT.numel()
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    return [total / max(count, 1) for total in sums]


def prune(model: Any, batches_BT: Sequence[Any], keep: int) -> PruneReport:  # noqa: ANN401
    """Drop layers of `model` in place until `keep` are left; its config follows.

    Raises:
        InvalidInput: More layers wanted than there are.
    """
    influence = block_influence(model, batches_BT)
    kept = layers_to_keep(influence, keep)
    keep_layers(model, kept)
    return PruneReport(kept, len(influence), influence)


def keep_layers(model: Any, kept: Sequence[int]) -> None:  # noqa: ANN401
    """Leave only the layers `kept` in `model`, renumbered for its key-value cache."""
    import torch

    layers = decoder_layers(model)
    backbone = model.get_decoder()
    backbone.layers = torch.nn.ModuleList([layers[i] for i in kept])
    for number, layer in enumerate(backbone.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = number
    config = model.config.get_text_config()
    for name, value in config_of_kept(config.to_dict(), kept, len(layers)).items():
        setattr(config, name, value)


def config_of_kept(fields: Mapping[str, Any], kept: Sequence[int], of: int) -> dict[str, Any]:
    """What changes in a config when the layers `kept` of `of` stay: their number, and all that says
    something of a layer by its place.

    A list of `of` entries is taken for one entry per layer, unless its name says otherwise: three
    ids may end an answer of a model of three layers.
    """
    changed: dict[str, Any] = {"num_hidden_layers": len(kept)}
    for name, value in fields.items():
        if name in _INDICES and isinstance(value, list | tuple):
            changed[name] = [place for place, layer in enumerate(kept) if layer in value]
        elif name in _BELOW and isinstance(value, int):
            changed[name] = sum(layer < value for layer in kept)
        elif isinstance(value, list | tuple) and len(value) == of and not _OF_NO_LAYER.search(name):
            changed[name] = [value[layer] for layer in kept]
    return changed


def decoder_layers(model: Any) -> Any:  # noqa: ANN401
    """The decoder layers of a causal LM, in order.

    Raises:
        InvalidInput: An architecture that keeps them elsewhere.
    """
    layers = getattr(model.get_decoder(), "layers", None)
    if layers is None:
        raise InvalidInput(
            f"The layers of models of type {model.config.model_type} cannot be reached here.",
            "Train it with all its layers, and without hidden states.",
        )
    return layers


def refuse_rewired(
    before_BTV: Any,  # noqa: ANN401
    after_BTV: Any,  # noqa: ANN401
    model_type: str,
    *,
    has_all_layers: bool = False,
) -> None:
    """Compare what a pruned model says before it is saved and after it is loaded again.

    Raises:
        InvalidInput: It says something else: its architecture sets layers up by their place, or by
            their widths, in a way that is not known here.
    """
    most = float((before_BTV.float() - after_BTV.float()).abs().max())
    if not most <= _ALIKE * max(float(before_BTV.float().abs().max()), 1.0):
        if has_all_layers:
            raise InvalidInput(
                f"A narrowed model of type {model_type} answers otherwise once it is loaded again.",
                "Drop layers instead, or train it as wide as it is.",
            )
        raise InvalidInput(
            f"Models of type {model_type} set their layers up by their place: with fewer layers"
            " they are another model when they are loaded again.",
            "Train it with all its layers.",
        )
