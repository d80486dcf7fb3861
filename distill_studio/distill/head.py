"""The last linear layer of a causal LM, as losses and teacher signals need it: `Head.of(model)`.

Losses project hidden states themselves, a tile of tokens at a time, so that logits of shape
(B, T, V) never exist.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from distill_studio.core.errors import InvalidInput

_CHECKED = 8  # tokens
# Mean difference of log-probabilities in nats that is rounding: SmolLM2-135M 0, in bf16 .017.
_MOST_FP32, _MOST_HALF = 1e-3, 0.25


@dataclass(frozen=True)
class Head:
    """logits = softcap(scale * (hidden @ weight.T + bias)), V ids by H dimensions.

    `scale` and `softcap` are those of architectures such as Granite and Gemma 2; most have neither.
    """

    weight_VH: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    @classmethod
    def of(cls, model: Any) -> "Head":  # noqa: ANN401
        """The head of a transformers model, with or without adapters.

        Raises:
            InvalidInput: The head is no plain linear layer (it has an adapter of its own).
        """
        layer = model.get_output_embeddings()
        if layer is None or hasattr(layer, "base_layer") or layer.weight.ndim != 2:
            raise InvalidInput(
                "The model's output layer is not a plain linear layer.",
                "Leave lm_head out of the layers that get an adapter.",
            )
        config = model.config.get_text_config()
        return cls(
            weight_VH=layer.weight,
            bias_V=getattr(layer, "bias", None),
            scale=_scale(config),
            softcap=getattr(config, "final_logit_softcapping", None),
        )

    @property
    def vocab(self) -> int:
        """Number of ids, padding included."""
        return int(self.weight_VH.shape[0])

    def first(self, width: int) -> "Head":
        """The same head over the first `width` ids: without the padding of the vocabulary."""
        if width == self.vocab:
            return self
        bias_V = None if self.bias_V is None else self.bias_V[:width]
        return replace(self, weight_VH=self.weight_VH[:width], bias_V=bias_V)

    def without_gradient(self) -> "Head":
        """The same head, cut off from autograd."""
        bias_V = None if self.bias_V is None else self.bias_V.detach()
        return replace(self, weight_VH=self.weight_VH.detach(), bias_V=bias_V)


class Projection:
    """A head made ready for many tiles. Products are fp32, or float64 for float64 input.

    On a GPU the operands stay in the dtype of autocast or of the hidden states and the product is
    written as fp32, so logits are not rounded to bf16. A CPU has no such product: there a bf16
    head is copied to fp32 once.
    """

    def __init__(self, head: Head, hidden_dtype: torch.dtype, device: torch.device) -> None:
        self._head = head
        self.dtype = torch.float64 if hidden_dtype == torch.float64 else torch.float32
        self._operand = self.dtype
        if device.type == "cuda" and self.dtype == torch.float32:
            is_mixed = torch.is_autocast_enabled("cuda")
            self._operand = torch.get_autocast_dtype("cuda") if is_mixed else hidden_dtype
        self._weight_VH = head.weight_VH.detach().to(self._operand)

    def logits(self, hidden_NH: Tensor) -> Tensor:
        """Logits (N, V) of N positions."""
        logits_NV = self._product(hidden_NH, self._weight_VH.T)
        if self._head.bias_V is not None:
            logits_NV.add_(self._head.bias_V.detach().to(self.dtype))
        if self._head.scale != 1.0:
            logits_NV.mul_(self._head.scale)
        if self._head.softcap is not None:
            logits_NV.div_(self._head.softcap).tanh_().mul_(self._head.softcap)
        return logits_NV

    def before_cap_(self, gradient_NV: Tensor, logits_NV: Tensor) -> Tensor:
        """A gradient for the logits becomes, in place, one for `hidden @ weight.T + bias`."""
        if self._head.softcap is not None:
            gradient_NV.mul_(1.0 - (logits_NV / self._head.softcap).square_())
        if self._head.scale != 1.0:
            gradient_NV.mul_(self._head.scale)
        return gradient_NV

    def to_hidden(self, gradient_NV: Tensor) -> Tensor:
        """The gradient for the hidden states (N, H)."""
        return self._product(gradient_NV, self._weight_VH)

    def add_to_weight(self, total_VH: Tensor, gradient_NV: Tensor, hidden_NH: Tensor) -> None:
        """Add a tile's gradient for the weight to `total_VH`, which is fp32."""
        if self._operand == self.dtype:
            total_VH.addmm_(gradient_NV.T, hidden_NH.to(self.dtype))
        else:
            total_VH.add_(self._product(gradient_NV.T, hidden_NH))

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        left, right = left.to(self._operand), right.to(self._operand)
        if self._operand == self.dtype:
            return left @ right
        return torch.mm(left, right, out_dtype=self.dtype)


@torch.no_grad()
def check_head(whose: str, model: Any) -> None:  # noqa: ANN401
    """Measure that a head makes of last hidden states what the model itself makes of them.

    Some architectures have more between the two (ModernBERT's decoder a dense layer and a norm,
    RecurrentGemma a cap of another name): a loss would teach them something else.

    Args:
        whose: In words, for the refusal: student or teacher.
        model: A causal LM on its device, without a wrapper.

    Raises:
        InvalidInput: They differ by more than rounding.
    """
    ids_1T = torch.arange(1, 1 + _CHECKED, device=model.device)[None]
    was_training = model.training
    model.eval()
    try:
        with torch.autocast(model.device.type, enabled=False):
            told_TV = model(input_ids=ids_1T, use_cache=False).logits[0].float()
            states_TH = model.base_model(input_ids=ids_1T, use_cache=False).last_hidden_state[0]
            made_TV = Projection(Head.of(model), states_TH.dtype, model.device).logits(states_TH)
    finally:
        model.train(was_training)
    told_TV, made_TV = (torch.log_softmax(logits.float(), 1) for logits in (told_TV, made_TV))
    away = float((told_TV - made_TV).abs().mean())
    if not away <= (_MOST_FP32 if states_TH.dtype == torch.float32 else _MOST_HALF):
        raise InvalidInput(
            f"The {whose}, a model of type {model.config.model_type}, does more between its last"
            f" hidden state and its logits than multiply by its output layer (log-probabilities"
            f" differ by {away:.2g} nats on average), so it cannot be trained rightly here.",
            "Choose a model of another architecture.",
        )


def _scale(config: Any) -> float:  # noqa: ANN401
    """What the architecture multiplies its logits by (as its own forward does)."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        value = getattr(config, name, None)
        if value is not None:
            return float(value)
    value = getattr(config, "logits_scaling", None)
    if value is None:
        return 1.0
    return float(value) if config.model_type == "hyperclovax" else 1.0 / float(value)
