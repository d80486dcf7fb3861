"""A teacher in the same process: its hidden states, projected when a loss asks for a tile."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from distill_studio.distill.head import Head, Projection, check_head
from distill_studio.distill.losses.softmax import finite_


class DenseTeacher:
    """Log-probabilities (n, V) of stretches of N positions; never of all at once.

    Args:
        hidden_NH: The teacher's last hidden states of the learned positions.
        projection: Of the teacher's head, cut to the ids that both models have.
        temperature: Of the softmax.
    """

    def __init__(self, hidden_NH: Tensor, projection: Projection, temperature: float = 1.0) -> None:
        self._hidden_NH = hidden_NH
        self._projection = projection
        self._temperature = temperature

    def __len__(self) -> int:
        """Number of positions."""
        return int(self._hidden_NH.shape[0])

    def split(self, sizes: Sequence[int]) -> "list[DenseTeacher]":
        """Stretches of so many positions each."""
        parts = self._hidden_NH.split(list(sizes))
        return [DenseTeacher(part_NH, self._projection, self._temperature) for part_NH in parts]

    def __call__(self, tokens: slice) -> Tensor:
        """Log-probabilities over the whole of the head's width."""
        logits_NV = self._projection.logits(self._hidden_NH[tokens])
        if self._temperature != 1.0:
            logits_NV.div_(self._temperature)
        return finite_(torch.log_softmax(logits_NV, 1))


class OnlineTeacher:
    """A causal LM that is only read.

    Args:
        model: On its device, in its own dtype.
        width: Ids that both models have.

    Raises:
        InvalidInput: Its output layer is not what losses take it for.
    """

    def __init__(self, model: Any, width: int) -> None:  # noqa: ANN401
        check_head("teacher", model)
        self.model = model.eval().requires_grad_(False)
        head = Head.of(model).without_gradient().first(width)
        self._projection = Projection(head, head.weight_VH.dtype, head.weight_VH.device)

    @property
    def models(self) -> list[Any]:
        """The one there is, as of several teachers."""
        return [self.model]

    @property
    def device(self) -> torch.device:
        """Where it reads."""
        found: torch.device = next(self.model.parameters()).device
        return found

    def read(
        self, batch: dict[str, Tensor], where_BT: Tensor, temperature: float = 1.0
    ) -> DenseTeacher:
        """What it says of the positions `where_BT` of a batch."""
        hidden_NH = hidden_states(self.model, batch, where_BT)
        return DenseTeacher(hidden_NH, self._projection, temperature)


@torch.no_grad()
def hidden_states(model: Any, batch: dict[str, Tensor], where_BT: Tensor) -> Tensor:  # noqa: ANN401
    """A causal LM's last hidden states (N, H) of the positions `where_BT` of a batch.

    Runs outside a student's autocast: the model computes in the dtype it was loaded in.
    """
    ids_BT, mask_BT = batch["input_ids"], batch.get("attention_mask")
    positions = {name: batch[name] for name in ("position_ids",) if name in batch}  # packed rows
    with torch.autocast(ids_BT.device.type, enabled=False):
        out = model.base_model(
            input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, **positions
        )
    hidden_BTH: Tensor = out.last_hidden_state
    return hidden_BTH[where_BT]
