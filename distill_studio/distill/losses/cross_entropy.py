"""Cross-entropy with the token that follows: what SFT learns, the alpha term of distillation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from distill_studio.distill.losses.tiled import Tile


@dataclass(frozen=True)
class CrossEntropy:
    """-log q(target) per token, always at temperature 1 and over the student's whole width."""

    targets_N: Tensor
    weight: float = 1.0
    name: str = "ce"

    def add(self, tile: Tile, gradient_NV: Tensor | None) -> Tensor:
        """Sum over the tile; adds `weight` times the gradient q - onehot(target)."""
        targets_N1 = self.targets_N[tile.tokens].unsqueeze(1)
        log_q_NV = tile.log_probs()
        if gradient_NV is not None:
            gradient_NV.add_(log_q_NV.exp(), alpha=self.weight)
            gradient_NV.scatter_add_(
                1, targets_N1, torch.full_like(targets_N1, -self.weight, dtype=gradient_NV.dtype)
            )
        return -log_q_NV.gather(1, targets_N1).sum()
