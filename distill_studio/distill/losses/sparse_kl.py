"""Forward KL from a teacher's top-k and the mass of its tail: exact for K + 1 buckets.

KL over the vocabulary = this + R * KL(teacher's tail || student's tail), R the tail's mass: a
lower bound whose head is unbiased; only the shape of the tail goes unsupervised. The head is never
renormalised: that would teach the student to give the tail nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from distill_studio.distill.losses.distill_term import LossAndGradient
from distill_studio.distill.losses.softmax import LOWEST


@dataclass(frozen=True)
class TopK:
    """What a teacher says of N tokens: K ids, each once, and what is left."""

    ids_NK: Tensor
    log_probs_NK: Tensor  # over the whole vocabulary, at the temperature of the loss
    log_tail_N: Tensor  # log of the mass outside the K ids; -inf when there is none


@dataclass(frozen=True)
class SparseKl:
    """sum over the head p (log p - log q) + R (log R - log S), S the student's mass outside it.

    S comes from a logsumexp over the tail's logits, not from log(1 - sum q), which loses every
    tail below the rounding of 1.
    """

    def __call__(self, log_q_NV: Tensor, teacher: TopK, *, wants_gradient: bool) -> LossAndGradient:
        """Loss and gradient."""
        ids_NK = teacher.ids_NK
        log_p_NK = teacher.log_probs_NK.to(log_q_NV.dtype).clamp(min=LOWEST)
        log_r_N = teacher.log_tail_N.to(log_q_NV.dtype)
        tail_NV = log_q_NV.scatter(1, ids_NK, float("-inf"))
        log_s_N = tail_NV.logsumexp(1).clamp_(min=LOWEST)
        has_tail_N = (log_r_N > LOWEST) & (log_s_N > LOWEST)
        r_N = torch.where(has_tail_N, log_r_N.exp(), 0.0)
        p_NK = log_p_NK.exp()
        head_N = (p_NK * (log_p_NK - log_q_NV.gather(1, ids_NK))).sum(1)
        loss_N = head_N + r_N * torch.where(has_tail_N, log_r_N - log_s_N, 0.0)
        if not wants_gradient:
            return loss_N, None
        mass_N1 = (p_NK.sum(1) + r_N).unsqueeze(1)  # 1, but for the rounding of what was stored
        share_NV = tail_NV.sub_(log_s_N.unsqueeze(1)).exp_()  # of each id within the student's tail
        gradient_NV = log_q_NV.exp().mul_(mass_N1).sub_(share_NV.mul_(r_N.unsqueeze(1)))
        return loss_N, gradient_NV.scatter_add_(1, ids_NK, -p_NK)
