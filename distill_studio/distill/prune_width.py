"""A smaller student by narrower layers: `width_importance(model, ...)`, then `narrow(model, ...)`.

Minitron (Muralidharan et al. 2024, arXiv:2407.14679, section 2.2): what answers real rows with
small activations matters least. A score is the mean over a row's positions of

- an MLP neuron: |its activation|, gate and up multiplied;
- an attention head: the length (L2) of its output; heads that share a key/value head go together,
  by the sum of their scores, so that grouped-query attention stays as it is;
- a channel of the hidden states: |the output of a layer's norm|, summed over all norms;

then the length (L2) of these means over the rows. Every layer keeps as many neurons and groups as
any other, each its own; the channels are the same in all layers, which add to one stream.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distill_studio.distill.prune import decoder_layers
from distill_studio.distill.pruning import MATRICES, Shape


@dataclass(frozen=True)
class WidthImportance:
    """Scores, the higher the more they matter; a tensor for each layer, but for the channels."""

    neurons: list[Any]  # (N,) of the MLP
    groups: list[Any]  # (G,) of heads that share a key/value head
    channels: Any  # (H,) of the hidden states

    def of_layers(self, kept: Sequence[int]) -> "WidthImportance":
        """Of a model that has only those layers left."""
        return WidthImportance(
            [self.neurons[i] for i in kept], [self.groups[i] for i in kept], self.channels
        )


def width_importance(
    model: Any,  # noqa: ANN401
    batches_BT: Sequence[Any],
    shape: Shape,
) -> WidthImportance:
    """Importance over token ids of shape (B, T), one tensor per batch.

    Args:
        model: A causal LM whose layout `pruning.refuse_layout` lets pass.
        batches_BT: Token ids without padding.
        shape: Of the model.
    """
    import torch

    squares: dict[tuple[str, int], Any] = {}
    handles = []

    def watch(name: str, index: int, measure: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        def hook(_module: Any, args: Any) -> None:  # noqa: ANN401
            found = args[0].to(torch.promote_types(args[0].dtype, torch.float32))
            total = measure(found).mean(1).square().sum(0)  # positions, then rows
            squares[name, index] = squares.get((name, index), 0) + total

        return hook

    def head_lengths(output_BTD: Any) -> Any:  # noqa: ANN401
        return output_BTD.unflatten(-1, (shape.heads, shape.head_dim)).norm(dim=-1)

    layers = decoder_layers(model)
    for index, layer in enumerate(layers):
        for module, name, measure in (
            (layer.mlp.down_proj, "neurons", torch.abs),
            (layer.self_attn.o_proj, "heads", head_lengths),
            (layer.self_attn.q_proj, "attention norm", torch.abs),
            (layer.mlp.gate_proj, "mlp norm", torch.abs),
        ):
            handles.append(module.register_forward_pre_hook(watch(name, index, measure)))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for ids_BT in batches_BT:
                model(input_ids=ids_BT, use_cache=False, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    every = range(len(layers))
    heads = [squares["heads", i].sqrt().view(shape.groups, -1) for i in every]
    norms = [squares[name, i].sqrt() for name in ("attention norm", "mlp norm") for i in every]
    return WidthImportance(
        neurons=[squares["neurons", i].sqrt() for i in every],
        groups=[scores.sum(-1) for scores in heads],
        channels=torch.stack(norms).sum(0),
    )


def most_important(scores: Any, keep: int) -> list[int]:  # noqa: ANN401
    """Indices of the `keep` highest of a vector of scores, in order; the earlier wins a tie."""
    values = scores.tolist()
    return sorted(sorted(range(len(values)), key=lambda i: (-values[i], i))[:keep])


def narrow(
    model: Any,  # noqa: ANN401
    importance: WidthImportance,
    before: Shape,
    after: Shape,
) -> None:
    """Leave what matters most in `model`, in place; its config follows.

    Args:
        model: A causal LM.
        importance: Of its layers.
        before: Its shape.
        after: What it is to have, of as many layers as are left.
    """
    config = model.config.get_text_config()
    per_group = before.heads // before.groups
    scores = zip(decoder_layers(model), importance.neurons, importance.groups, strict=True)
    for layer, of_neurons, of_groups in scores:
        groups = most_important(of_groups, after.groups)
        heads = [group * per_group + i for group in groups for i in range(per_group)]
        kept = {
            "neurons": most_important(of_neurons, after.neurons),
            "queries": _dimensions(heads, before.head_dim),
            "keys": _dimensions(groups, before.head_dim),
        }
        for name, (rows, columns) in MATRICES.items():
            _cut(layer.get_submodule(name), kept.get(rows), kept.get(columns))
    if after.hidden != before.hidden:
        _drop_channels(model, most_important(importance.channels, after.hidden), before.hidden)
    config.intermediate_size = after.neurons
    config.num_attention_heads = after.heads
    config.num_key_value_heads = after.groups
    config.head_dim = after.head_dim  # else it would be hidden size / heads
    config.hidden_size = after.hidden


def _drop_channels(model: Any, kept: list[int], of: int) -> None:  # noqa: ANN401
    """Leave only those channels of the hidden states.

    An RMSNorm divides by the root of a mean over the channels. Where those that go were small the
    mean grows as their number falls; the norms' weights take that back.
    """
    import torch

    scale = math.sqrt(of / len(kept))
    for layer in decoder_layers(model):
        for name, (rows, columns) in MATRICES.items():
            _cut(
                layer.get_submodule(name),
                kept if rows == "hidden" else None,
                kept if columns == "hidden" else None,
            )
    embedding, output = model.get_input_embeddings(), model.get_output_embeddings()
    is_tied = output.weight is embedding.weight
    _cut(embedding, None, kept)
    if is_tied:
        output.weight, output.in_features = embedding.weight, len(kept)
    else:
        _cut(output, None, kept)
    parts = [part for layer in decoder_layers(model) for part in layer.children()]
    for norm in (*parts, model.get_decoder().norm):
        if (weight := getattr(norm, "weight", None)) is not None:
            norm.weight = torch.nn.Parameter(weight.detach()[kept] * scale)


def _cut(module: Any, rows: list[int] | None, columns: list[int] | None) -> None:  # noqa: ANN401
    """Leave those outputs (rows) and inputs (columns) of a linear layer or an embedding."""
    import torch

    weight = module.weight.detach()
    weight = weight if rows is None else weight[rows]
    weight = weight if columns is None else weight[:, columns]
    module.weight = torch.nn.Parameter(weight.contiguous())
    if rows is not None and getattr(module, "bias", None) is not None:
        module.bias = torch.nn.Parameter(module.bias.detach()[rows].contiguous())
    if isinstance(module, torch.nn.Embedding):
        module.embedding_dim = weight.shape[1]
    else:
        module.out_features, module.in_features = weight.shape


def _dimensions(heads: Sequence[int], head_dim: int) -> list[int]:
    """The rows of a projection that belong to those heads."""
    return [head * head_dim + i for head in heads for i in range(head_dim)]
