"""Forward KL(p || q): the student covers all that the teacher finds likely."""

from dataclasses import dataclass

from torch import Tensor

from distill_studio.distill.losses.distill_term import LossAndGradient


@dataclass(frozen=True)
class ForwardKl:
    """sum p (log p - log q); its gradient is q - p."""

    def __call__(
        self, log_q_NV: Tensor, teacher: Tensor, *, wants_gradient: bool
    ) -> LossAndGradient:
        """Loss and gradient; `teacher` holds log p (N, V)."""
        p_NV = teacher.exp()
        loss_N = (teacher - log_q_NV).mul_(p_NV).sum(1)
        return loss_N, log_q_NV.exp().sub_(p_NV) if wants_gradient else None
