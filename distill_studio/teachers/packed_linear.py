"""Linear layers whose weights lie as a processor's bfloat16 instructions read them.

torch lays the weights of a bfloat16 layer out anew for oneDNN at every call. For batches as small
as the caches ask for, that is a good part of the product; here it is done once.
"""

import torch
from torch import nn


class PackedLinear(nn.Module):
    """A linear layer for inference on a CPU in bfloat16.

    Args:
        linear: What it computes.
        rows: Rows a call usually brings; other numbers work, too.
    """

    def __init__(self, linear: nn.Linear, rows: int) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias  # some models look at them
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), rows)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._packed, self.bias, "none", [], ""
        )
        return found


def can_pack() -> bool:
    """Whether this processor and this torch compute packed bfloat16 layers."""
    return bool(
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def pack(model: nn.Module, rows: int) -> None:
    """Replace all plain linear layers inside `model`, whose weights are bfloat16 on a CPU."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, PackedLinear(child, rows))
