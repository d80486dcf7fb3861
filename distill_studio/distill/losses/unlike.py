"""How far apart two distributions over unlike vocabularies are: `UldDistance`, `HybridDistance`.

Each is a pure function of log-weights: log-probabilities of what may be said at a place, less what
`aligned_term.py` takes off where several tokens write one piece of text (so a row's sum may be
below 1). Both are 0 where the two are the same, and never below.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from distill_studio.distill.losses.distill_term import LossAndGradient


class UnlikeDistance(Protocol):
    """Of G places, the student's V ids, the teacher's U.

    Args:
        log_m_GV: The student's.
        log_t_GU: The teacher's.
        wants_gradient: False while measuring.

    Returns:
        The loss (G,) and its gradient (G, V) for `log_m_GV`, its entries taken as free.
    """

    def __call__(
        self, log_m_GV: Tensor, log_t_GU: Tensor, *, wants_gradient: bool
    ) -> LossAndGradient:
        """Loss and gradient."""
        ...


@dataclass(frozen=True)
class UldDistance:
    """sum_i |m_(i) - t_(i)|, both sorted from the largest down, the shorter one filled with 0.

    Universal logit distillation (Boizard et al. 2024, arXiv:2402.12030): the Wasserstein
    distance where moving any token's probability to any other's costs the same.
    """

    def __call__(
        self, log_m_GV: Tensor, log_t_GU: Tensor, *, wants_gradient: bool
    ) -> LossAndGradient:
        """Loss and gradient; among equals the order is that of the ids, and sign(0) is 0."""
        return _sorted_l1(log_m_GV.exp(), log_t_GU.exp(), wants_gradient=wants_gradient)


@dataclass(frozen=True)
class HybridDistance:
    """KL over the tokens that both vocabularies have, and the sorted distance of all others.

    sum over the shared ones of t log(t / m) - t + m, plus `UldDistance` of the rest. The two
    masses make the first sum at least 0, and 0 only where the shared tokens agree; with one
    vocabulary they cancel, and it is forward KL. (TRL 1.16's GOLD takes JSD here, or KL without
    the masses, which then can fall below 0; it weighs its two parts by counts of tokens, and drops
    the rest where one side has none.)

    Args:
        ours_C: The student's ids of shared tokens.
        theirs_C: The teacher's, in the same order.
        ours_R: The student's other ids.
        theirs_R: The teacher's.
    """

    ours_C: Tensor
    theirs_C: Tensor
    ours_R: Tensor
    theirs_R: Tensor

    def __call__(
        self, log_m_GV: Tensor, log_t_GU: Tensor, *, wants_gradient: bool
    ) -> LossAndGradient:
        """Loss and gradient."""
        log_m_GC, log_t_GC = log_m_GV[:, self.ours_C], log_t_GU[:, self.theirs_C]
        m_GC, t_GC = log_m_GC.exp(), log_t_GC.exp()
        gap_GC = m_GC - t_GC
        shared_G = log_t_GC.sub_(log_m_GC).mul_(t_GC).add_(gap_GC).sum(1)
        m_GR, t_GR = log_m_GV[:, self.ours_R].exp(), log_t_GU[:, self.theirs_R].exp()
        rest_G, rest_GR = _sorted_l1(m_GR, t_GR, wants_gradient=wants_gradient)
        if rest_GR is None:
            return shared_G + rest_G, None
        gradient_GV = torch.empty_like(log_m_GV)
        gradient_GV[:, self.ours_C] = gap_GC
        gradient_GV[:, self.ours_R] = rest_GR
        return shared_G + rest_G, gradient_GV


def _sorted_l1(m_GV: Tensor, t_GU: Tensor, *, wants_gradient: bool) -> LossAndGradient:
    """The distance (G,) of sorted weights, and its gradient for the logarithms of `m_GV`."""
    ours_GV, order_GV = m_GV.sort(stable=True, dim=1, descending=True)
    theirs_GU = t_GU.sort(1, descending=True).values
    both = min(ours_GV.shape[1], theirs_GU.shape[1])
    gap_GV = ours_GV.clone()
    gap_GV[:, :both] -= theirs_GU[:, :both]
    loss_G = gap_GV.abs().sum(1) + theirs_GU[:, both:].sum(1)
    if not wants_gradient:
        return loss_G, None
    return loss_G, torch.empty_like(m_GV).scatter_(1, order_GV, gap_GV.sign_().mul_(ours_GV))
