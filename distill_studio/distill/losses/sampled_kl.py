"""Forward KL from ids drawn from the teacher's distribution: unbiased, however few are drawn.

Anshumann et al. 2025 (random sampling KD, arXiv:2503.16870): N draws with replacement per token,
kept as (id, count). The expected gradient is that of the whole KL, tail included, where the top-k
alone is biased.
"""

from dataclasses import dataclass

from torch import Tensor

from distill_studio.distill.losses.distill_term import LossAndGradient


@dataclass(frozen=True)
class Draws:
    """Ids drawn for N tokens; unused places have share 0."""

    ids_NK: Tensor
    shares_NK: Tensor  # count / number of draws
    log_probs_NK: Tensor  # the teacher's, at the temperature of the draws


@dataclass(frozen=True)
class SampledKl:
    """sum share (log p - log q); its gradient is q - share."""

    def __call__(
        self, log_q_NV: Tensor, teacher: Draws, *, wants_gradient: bool
    ) -> LossAndGradient:
        """Loss (an estimate, so it may fall below 0 for single tokens) and gradient."""
        share_NK = teacher.shares_NK.to(log_q_NV.dtype)
        log_p_NK = teacher.log_probs_NK.to(log_q_NV.dtype)
        loss_N = (share_NK * (log_p_NK - log_q_NV.gather(1, teacher.ids_NK))).sum(1)
        if not wants_gradient:
            return loss_N, None
        gradient_NV = log_q_NV.exp().mul_(share_NK.sum(1, keepdim=True))
        return loss_N, gradient_NV.scatter_add_(1, teacher.ids_NK, -share_NK)
