"""Skewed KL: a little of one side is mixed into the other, so that no ratio explodes.

Ko et al. 2024 (DistiLLM, arXiv:2402.03898, eq. 4 and 5), a = 0.1 there.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from distill_studio.distill.losses.distill_term import LossAndGradient
from distill_studio.distill.losses.softmax import through_softmax_


@dataclass(frozen=True)
class SkewedKl:
    """SKL: KL(p || a p + (1 - a) q), 0 < a < 1."""

    skew: float = 0.1

    def __call__(
        self, log_q_NV: Tensor, teacher: Tensor, *, wants_gradient: bool
    ) -> LossAndGradient:
        """Loss and gradient; `teacher` holds log p (N, V)."""
        log_m_NV = _mixture(teacher, log_q_NV, self.skew)
        gap_NV = teacher - log_m_NV
        loss_N = (gap_NV * teacher.exp()).sum(1)
        if not wants_gradient:
            return loss_N, None
        ratio_NV = gap_NV.exp_().mul_(self.skew - 1)  # d/dq = -(1 - a) p / m
        return loss_N, through_softmax_(log_q_NV.exp(), ratio_NV)


@dataclass(frozen=True)
class SkewedReverseKl:
    """SRKL: KL(q || (1 - a) p + a q), 0 < a < 1."""

    skew: float = 0.1

    def __call__(
        self, log_q_NV: Tensor, teacher: Tensor, *, wants_gradient: bool
    ) -> LossAndGradient:
        """Loss and gradient; `teacher` holds log p (N, V)."""
        log_m_NV = _mixture(log_q_NV, teacher, self.skew)
        q_NV = log_q_NV.exp()
        gap_NV = log_q_NV - log_m_NV
        loss_N = (gap_NV * q_NV).sum(1)
        if not wants_gradient:
            return loss_N, None
        slope_NV = gap_NV.sub_(gap_NV.exp(), alpha=self.skew)  # d/dq, less a constant
        return loss_N, through_softmax_(q_NV, slope_NV)


def _mixture(first_NV: Tensor, second_NV: Tensor, share: float) -> Tensor:
    """log(share exp(first) + (1 - share) exp(second))."""
    return torch.logaddexp(first_NV + math.log(share), second_NV + math.log1p(-share))
