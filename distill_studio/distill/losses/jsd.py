"""Generalised Jensen-Shannon divergence between forward and reverse KL.

Agarwal et al. 2024 (GKD, arXiv:2306.13649, eq. 1), with TRL's reading of beta: the mixture is
m = beta p + (1 - beta) q. Divided by beta it tends to KL(p || q) for beta -> 0, divided by
1 - beta to KL(q || p) for beta -> 1; at the ends themselves choose those two losses.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from distill_studio.distill.losses.distill_term import LossAndGradient


@dataclass(frozen=True)
class Jsd:
    """beta KL(p || m) + (1 - beta) KL(q || m), 0 < beta < 1; symmetric at one half."""

    beta: float = 0.5

    def __call__(
        self, log_q_NV: Tensor, teacher: Tensor, *, wants_gradient: bool
    ) -> LossAndGradient:
        """Loss and gradient; `teacher` holds log p (N, V)."""
        log_m_NV = torch.logaddexp(log_q_NV + math.log1p(-self.beta), teacher + math.log(self.beta))
        q_NV = log_q_NV.exp()
        gap_NV = log_q_NV - log_m_NV
        reverse_N = (q_NV * gap_NV).sum(1)
        forward_N = (teacher - log_m_NV).mul_(teacher.exp()).sum(1)
        loss_N = self.beta * forward_N + (1 - self.beta) * reverse_N
        if not wants_gradient:
            return loss_N, None
        gradient_NV = gap_NV.sub_(reverse_N.unsqueeze(1)).mul_(q_NV)
        return loss_N, gradient_NV.mul_(1 - self.beta)
