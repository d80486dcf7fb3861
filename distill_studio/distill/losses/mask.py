"""Which positions are learned, and how sums become a loss.

The logits at position t predict the token at t + 1: labels are shifted here, once, before
anything else looks at them.
"""

import torch
from torch import Tensor

from distill_studio.distill.data import MASKED


def learned_positions(labels_BT: Tensor) -> Tensor:
    """(B, T) booleans: True where the hidden state predicts a learned token, one before it."""
    is_learned_BT = torch.zeros_like(labels_BT, dtype=torch.bool)
    is_learned_BT[:, :-1] = labels_BT[:, 1:] != MASKED
    return is_learned_BT


def learned_targets(labels_BT: Tensor) -> Tensor:
    """(N,) ids of the learned tokens, in the order of `hidden[learned_positions(labels)]`."""
    shifted_BT = labels_BT[:, 1:]
    return shifted_BT[shifted_BT != MASKED]


def normalise(
    total: Tensor, tokens: int, num_items_in_batch: Tensor | int | None, processes: int = 1
) -> Tensor:
    """A sum over this pass's tokens as its share of the mean over the whole update.

    Args:
        total: Sum over `tokens` tokens.
        tokens: Learned tokens of this pass; used only when the trainer counts nothing.
        num_items_in_batch: Learned tokens of all passes (of all devices) of the update.
        processes: How many devices average their gradients although the count is over all.
    """
    if num_items_in_batch is None:
        return total / max(tokens, 1)
    count = torch.as_tensor(num_items_in_batch, device=total.device).clamp(min=1)
    return total / count * processes
