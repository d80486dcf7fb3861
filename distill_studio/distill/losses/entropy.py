"""The student's own entropy: how sure it is of what it says. Watched, never learned."""

from dataclasses import dataclass

from torch import Tensor

from distill_studio.distill.losses.tiled import Tile


@dataclass(frozen=True)
class Entropy:
    """-sum q log q per token, at temperature 1, in nats; no part of the total."""

    weight: float = 0.0
    name: str = "entropy"

    def add(self, tile: Tile, gradient_NV: Tensor | None) -> Tensor:
        """Sum over the tile; no gradient."""
        log_q_NV = tile.log_probs()
        return -(log_q_NV.exp() * log_q_NV).sum()
