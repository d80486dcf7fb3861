"""A divergence from the teacher as a summand of the loss: temperature, its square, the width."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from distill_studio.distill.losses.tiled import Tile

LossAndGradient = tuple[Tensor, Tensor | None]


class Divergence(Protocol):
    """A pure function of log-probabilities, per token.

    Args:
        log_q_NV: The student's, at the temperature.
        teacher: What the teacher says of these tokens, at the same temperature: log-probabilities
            (N, V) for the dense losses, a record of the sparse ones.
        wants_gradient: False while measuring.

    Returns:
        The loss (N,) and its gradient (N, V) for the student's tempered logits, which may be kept
        and changed by the caller.
    """

    def __call__(self, log_q_NV: Tensor, teacher: Any, *, wants_gradient: bool) -> LossAndGradient:  # noqa: ANN401
        """Loss and gradient of a tile."""
        ...


@dataclass(frozen=True)
class DistillTerm:
    """`weight * T^2 * divergence(teacher^T, student^T)`, summed over tokens.

    The factor T^2 keeps the size of the gradient when the temperature changes (Hinton et al.
    2015, arXiv:1503.02531, section 2): softened logits pass 1/T, softened targets another 1/T.

    Args:
        divergence: See `Divergence`.
        teacher: Given a stretch of the learned positions, what the teacher says of them.
        temperature: T.
        width: Ids that both models have; the student's softmax is taken over them. None = all.
        weight: beta.
        name: For the log.
    """

    divergence: Divergence
    teacher: Callable[[slice], Any]
    temperature: float = 1.0
    width: int | None = None
    weight: float = 1.0
    name: str = "kl"

    def add(self, tile: Tile, gradient_NV: Tensor | None) -> Tensor:
        """Sum over the tile, T^2 included; adds `weight` times its gradient for the logits."""
        log_q_NV = tile.log_probs(self.temperature, self.width)
        loss_N, found_NV = self.divergence(
            log_q_NV, self.teacher(tile.tokens), wants_gradient=gradient_NV is not None
        )
        if gradient_NV is not None and found_NV is not None:
            # d(z / T) / dz takes one of the two factors T
            gradient_NV[:, : log_q_NV.shape[1]].add_(found_NV, alpha=self.weight * self.temperature)
        return self.temperature**2 * loss_N.sum()
