"""Losses over a vocabulary without logits of shape (B, T, V): `tiled_loss(hidden, head, terms)`.

Hidden states of the learned positions are projected a tile of tokens at a time. Each tile's
gradient is worked out at once, while its logits exist, and only what autograd needs later is
kept: the gradients of hidden states and, when it trains, of the head, both summed in fp32. So
nothing is projected twice: time is that of the dense form, memory that of a tile. The vocabulary
is not cut: a softmax needs the whole row, and cutting it would mean projecting once more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from distill_studio.distill.head import Head, Projection

_TILE_ELEMENTS = {"cuda": 2**26, "cpu": 2**23}  # of one fp32 array of logits: 256 and 32 MiB
_LEAST_TOKENS = 16


def tile_tokens(vocab: int, device: str) -> int:
    """Positions whose logits over `vocab` ids fill one tile."""
    return max(_LEAST_TOKENS, _TILE_ELEMENTS.get(device, 2**23) // vocab)


class Tile:
    """The student's logits (N, V) of a stretch of tokens; log-probabilities are made once."""

    def __init__(self, logits_NV: Tensor, tokens: slice) -> None:
        self.logits_NV = logits_NV
        self.tokens = tokens
        self._made: dict[tuple[float, int], Tensor] = {}

    def log_probs(self, temperature: float = 1.0, width: int | None = None) -> Tensor:
        """Log-probabilities over the first `width` ids at a temperature. Not to be changed."""
        key = (temperature, width or self.logits_NV.shape[1])
        if key not in self._made:
            logits_NV = self.logits_NV[:, : key[1]]
            scaled_NV = logits_NV if temperature == 1.0 else logits_NV / temperature
            self._made[key] = torch.log_softmax(scaled_NV, 1)
        return self._made[key]


class Term(Protocol):
    """One summand of a loss. One that needs stretches of tokens whole names them as `uncut`."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    def add(self, tile: Tile, gradient_NV: Tensor | None) -> Tensor:
        """Its sum over the tile's tokens, unweighted.

        Adds its weighted gradient for the logits to `gradient_NV` unless that is None.
        """
        ...

    @property
    def weight(self) -> float:
        """Factor in the total."""
        ...


@dataclass(frozen=True)
class LossSums:
    """Sums over the learned tokens; the trainer divides by how many an update has."""

    total: Tensor  # weighted, differentiable
    parts: dict[str, Tensor]  # by name, unweighted, detached
    tokens: int


def tiled_loss(
    hidden_NH: Tensor, head: Head, terms: Sequence[Term], tile_tokens: int | None = None
) -> LossSums:
    """The weighted sum of `terms` over N learned positions.

    Args:
        hidden_NH: Last hidden states of the learned positions.
        head: Of the student. No gradient is made for it where it is frozen.
        terms: What to sum.
        tile_tokens: Tokens per tile; None = as many as keep a tile at 32 MiB (256 on a GPU).
    """
    total, parts = _TiledLoss.apply(
        hidden_NH,
        head.weight_VH,
        head.bias_V,
        _Job(head, tuple(terms), tile_tokens, is_learning=torch.is_grad_enabled()),
    )
    sums = {term.name: part for term, part in zip(terms, parts.unbind(), strict=True)}
    return LossSums(total, sums, hidden_NH.shape[0])


@dataclass(frozen=True)
class _Job:
    """What a tiled loss needs beside the tensors that autograd watches."""

    head: Head
    terms: tuple[Term, ...]
    tile_tokens: int | None
    is_learning: bool

    def tiles(self, tokens: int, device: str) -> list[slice]:
        """Equal stretches of tokens, but for those that may not be cut (`uncut` of a term)."""
        size = self.tile_tokens or tile_tokens(self.head.vocab, device)
        count = max(1, -(-tokens // size))
        size = max(1, -(-tokens // count))
        whole = [pair for term in self.terms for pair in getattr(term, "uncut", ())]
        inside = {place for start, stop in whole for place in range(start + 1, stop)}
        found, start = [], 0
        while start < tokens:
            stop = min(start + size, tokens)
            while stop in inside:
                stop += 1
            found.append(slice(start, stop))
            start = stop
        return found


class _Gradients:
    """Gradients summed over tiles, each only where it is wanted."""

    def __init__(
        self, tensors: Sequence[Tensor | None], wanted: Sequence[bool], dtype: torch.dtype
    ) -> None:
        self.hidden_NH, self.weight_VH, self.bias_V = (
            torch.zeros_like(tensor, dtype=dtype) if wants and tensor is not None else None
            for tensor, wants in zip(tensors, wanted, strict=True)
        )
        self.is_wanted = any(wanted)

    def add(
        self, projection: Projection, tokens: slice, hidden_NH: Tensor, gradient_NV: Tensor
    ) -> None:
        """Carry a tile's gradient for the products back to what was multiplied."""
        if self.hidden_NH is not None:
            self.hidden_NH[tokens] = projection.to_hidden(gradient_NV)
        if self.weight_VH is not None:
            projection.add_to_weight(self.weight_VH, gradient_NV, hidden_NH)
        if self.bias_V is not None:
            self.bias_V += gradient_NV.sum(0)


class _TiledLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        job: _Job,
    ) -> tuple[Tensor, Tensor]:
        device = hidden_NH.device.type
        projection = Projection(job.head, hidden_NH.dtype, hidden_NH.device)
        wanted = ctx.needs_input_grad[:3] if job.is_learning else (False, False, False)
        gradients = _Gradients((hidden_NH, weight_VH, bias_V), wanted, projection.dtype)
        parts = torch.zeros(len(job.terms), dtype=projection.dtype, device=hidden_NH.device)
        with torch.autocast(device, enabled=False):
            for tokens in job.tiles(hidden_NH.shape[0], device):
                tile = Tile(projection.logits(hidden_NH[tokens]), tokens)
                gradient_NV = torch.zeros_like(tile.logits_NV) if gradients.is_wanted else None
                for index, term in enumerate(job.terms):
                    parts[index] += term.add(tile, gradient_NV)
                if gradient_NV is not None:
                    projection.before_cap_(gradient_NV, tile.logits_NV)
                    gradients.add(projection, tokens, hidden_NH[tokens], gradient_NV)
        ctx.save_for_backward(gradients.hidden_NH, gradients.weight_VH, gradients.bias_V)
        ctx.dtypes = [None if t is None else t.dtype for t in (hidden_NH, weight_VH, bias_V)]
        ctx.mark_non_differentiable(parts)
        weights = torch.tensor([t.weight for t in job.terms], dtype=parts.dtype)
        # no product of matrices: autocast would round it to bf16
        return (parts * weights.to(parts.device)).sum(), parts

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        scaled = [
            None if kept is None else (kept * gradient).to(dtype)
            for kept, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (*scaled, None)
