"""Reverse KL(q || p): the student keeps to what the teacher finds likely, and may leave out much.

Gu et al. 2024 (MiniLLM, arXiv:2306.08543) argue for it; it needs the teacher's probability of
whatever the student finds likely, so a teacher online.
"""

from dataclasses import dataclass

from torch import Tensor

from distill_studio.distill.losses.distill_term import LossAndGradient


@dataclass(frozen=True)
class ReverseKl:
    """sum q (log q - log p); its gradient is q (log q - log p - KL)."""

    def __call__(
        self, log_q_NV: Tensor, teacher: Tensor, *, wants_gradient: bool
    ) -> LossAndGradient:
        """Loss and gradient; `teacher` holds log p (N, V)."""
        q_NV = log_q_NV.exp()
        gap_NV = log_q_NV - teacher
        loss_N = (q_NV * gap_NV).sum(1)
        if not wants_gradient:
            return loss_N, None
        return loss_N, gap_NV.sub_(loss_N.unsqueeze(1)).mul_(q_NV)
