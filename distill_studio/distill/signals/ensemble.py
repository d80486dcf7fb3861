"""Several teachers as one: the weighted mean of their probabilities. `EnsembleTeacher`.

sum_k w_k p_k is the distribution of a teacher drawn by weight; forward KL to it has the gradient of
the weighted sum of forward KLs. (Averaging logits instead would give a sharper, geometric mixture.)
A temperature is that of the mixture, whether it is asked online or stored.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from distill_studio.distill.losses.softmax import finite_
from distill_studio.distill.signals.online import DenseTeacher, OnlineTeacher


class DenseMixture:
    """Log-probabilities (n, V) of stretches of N positions; never of all at once.

    Args:
        parts: What each teacher says at temperature 1, over the same ids.
        weights: Theirs; their sum is 1.
        temperature: Of the mixture.
    """

    def __init__(
        self, parts: Sequence[DenseTeacher], weights: Sequence[float], temperature: float = 1.0
    ) -> None:
        self._parts = parts
        self._weights = weights
        self._temperature = temperature

    def __len__(self) -> int:
        """Number of positions."""
        return len(self._parts[0])

    def split(self, sizes: Sequence[int]) -> "list[DenseMixture]":
        """Stretches of so many positions each."""
        stretches = zip(*(part.split(sizes) for part in self._parts), strict=True)
        return [DenseMixture(parts, self._weights, self._temperature) for parts in stretches]

    def __call__(self, tokens: slice) -> Tensor:
        """Log-probabilities, summed up one teacher at a time."""
        mixed_NV: Tensor | None = None
        for part, weight in zip(self._parts, self._weights, strict=True):
            weighted_NV = part(tokens).add_(math.log(weight))
            mixed_NV = weighted_NV if mixed_NV is None else torch.logaddexp(mixed_NV, weighted_NV)
        assert mixed_NV is not None  # there is a teacher
        if self._temperature != 1.0:
            mixed_NV = torch.log_softmax(mixed_NV.div_(self._temperature), 1)
        return finite_(mixed_NV)


class EnsembleTeacher:
    """Causal LMs of one tokenizer that are only read.

    Args:
        teachers: Over the same ids, on one device.
        weights: Theirs; their sum is 1.
    """

    def __init__(self, teachers: Sequence[OnlineTeacher], weights: Sequence[float]) -> None:
        self._teachers = teachers
        self._weights = weights

    @property
    def model(self) -> Any:  # noqa: ANN401
        """The first teacher's, for those who watch its layers."""
        return self._teachers[0].model

    @property
    def models(self) -> list[Any]:
        """All teachers'."""
        return [teacher.model for teacher in self._teachers]

    @property
    def device(self) -> torch.device:
        """Where they read."""
        return self._teachers[0].device

    def read(
        self, batch: dict[str, Tensor], where_BT: Tensor, temperature: float = 1.0
    ) -> DenseMixture:
        """What they say together of the positions `where_BT` of a batch."""
        parts = [teacher.read(batch, where_BT) for teacher in self._teachers]
        return DenseMixture(parts, self._weights, temperature)
