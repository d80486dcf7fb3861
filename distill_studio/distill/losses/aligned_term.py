"""A teacher with another tokenizer as a summand of the loss: pieces of text are compared.

A span is a stretch of the student's tokens and one of the teacher's that write the same text. Most
have one token on either side. Of several, the distribution is that in the place of the first, each
probability times those of the tokens that really follow within the span:

    m(v) = q(v | before) * q(y_2 | before, y_1) * ... * q(y_k | before, y_1 .. y_k-1)

as in TRL 1.16's GOLDTrainer (`token_merge_strategy="observed"`), which asks one place too late: its
factor for y_j is the probability of y_j *behind* y_j, its distribution that behind y_1. Here each
is taken where the token is predicted. For the first token that stands there, m is the probability
of the span's whole text.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from distill_studio.distill.losses.tiled import Tile, tile_tokens
from distill_studio.distill.losses.unlike import UnlikeDistance


@dataclass(frozen=True)
class AlignedTerm:
    """`weight * distance(teacher, student)`, summed over spans, at temperature 1.

    Args:
        distance: Between the two distributions of a span.
        teacher: Given a stretch of its own positions, its log-probabilities (M, U) there.
        spans_G4: First and last + 1 of the student's learned positions, then of the teacher's.
        ours_N: Ids of the tokens that the student's learned positions predict.
        theirs_M: Those of the teacher's.
        width: Ids of the student's tokenizer; its softmax is taken over them.
        teacher_width: U.
        weight: beta.
        name: For the log.
    """

    distance: UnlikeDistance
    teacher: Callable[[slice], Tensor]
    spans_G4: Tensor
    ours_N: Tensor
    theirs_M: Tensor
    width: int
    teacher_width: int
    weight: float = 1.0
    name: str = "kl"

    @property
    def uncut(self) -> list[tuple[int, int]]:
        """The stretches of the student's positions that must lie in one tile."""
        return [(start, stop) for start, stop, *_ in self.spans_G4.tolist()]

    def add(self, tile: Tile, gradient_NV: Tensor | None) -> Tensor:
        """Sum over the tile's spans; adds `weight` times its gradient for the logits."""
        log_q_NV = tile.log_probs(width=self.width)
        at, spans_G4 = tile.tokens, self.spans_G4
        is_here_G = (spans_G4[:, 0] >= at.start) & (spans_G4[:, 1] <= at.stop)
        total = log_q_NV.new_zeros(())
        most = tile_tokens(self.width + self.teacher_width, log_q_NV.device.type)
        for some_G4 in spans_G4[is_here_G].split(most):
            if len(some_G4):
                total += self._add(log_q_NV, some_G4, at, gradient_NV)
        return total

    def _add(
        self, log_q_NV: Tensor, spans_G4: Tensor, at: slice, gradient_NV: Tensor | None
    ) -> Tensor:
        stretch = slice(int(spans_G4[:, 2].min()), int(spans_G4[:, 3].max()))
        theirs = _Merged.of(self.teacher(stretch), spans_G4[:, 2:], self.theirs_M, stretch.start)
        ours = _Merged.of(log_q_NV, spans_G4[:, :2], self.ours_N, at.start)
        loss_G, found_GV = self.distance(
            ours.log_GV, theirs.log_GV, wants_gradient=gradient_NV is not None
        )
        if gradient_NV is not None and found_GV is not None:
            ours.carry_back(found_GV, log_q_NV, gradient_NV[:, : self.width], self.weight)
        return loss_G.sum()


@dataclass(frozen=True)
class _Merged:
    """Log-weights of spans, and where they were taken from."""

    log_GV: Tensor
    first_G: Tensor  # places of the first tokens
    later_L: Tensor  # of those that follow within their span
    owner_L: Tensor  # the span of each
    said_L: Tensor  # and its id

    @classmethod
    def of(cls, log_NV: Tensor, spans_G2: Tensor, ids: Tensor, start: int) -> "_Merged":
        """Of log-probabilities in places from `start` on."""
        first_G = spans_G2[:, 0] - start
        counts_G = spans_G2[:, 1] - spans_G2[:, 0] - 1
        owner_L = torch.repeat_interleave(counts_G)
        before_G = counts_G.cumsum(0) - counts_G
        number_L = torch.arange(len(owner_L), device=owner_L.device) - before_G[owner_L]
        later_L = first_G[owner_L] + 1 + number_L
        said_L = ids[later_L + start]
        follows_G = log_NV.new_zeros(len(first_G))
        follows_G.index_add_(0, owner_L, log_NV[later_L, said_L])
        return cls(log_NV[first_G].add_(follows_G[:, None]), first_G, later_L, owner_L, said_L)

    def carry_back(
        self, found_GV: Tensor, log_q_NV: Tensor, gradient_NV: Tensor, weight: float
    ) -> None:
        """Add to the logits' gradient what a gradient for the log-weights makes of it.

        log m = log q + the sum of log-probabilities of what follows, so the latter get the
        gradient's sum over v; through each log-softmax goes g - q * sum(g).
        """
        all_G = found_GV.sum(1)
        first_GV = found_GV - log_q_NV[self.first_G].exp_().mul_(all_G[:, None])
        gradient_NV.index_add_(0, self.first_G, first_GV, alpha=weight)
        all_L1 = all_G[self.owner_L][:, None]
        later_LV = log_q_NV[self.later_L].exp_().mul_(-all_L1)
        later_LV.scatter_add_(1, self.said_L[:, None], all_L1)
        gradient_NV.index_add_(0, self.later_L, later_LV, alpha=weight)
