"""What several losses share: the way a gradient takes through a softmax."""

from torch import Tensor

LOWEST = -1e30  # a logarithm of no probability that still multiplies with 0 to 0


def finite_(log_probs: Tensor) -> Tensor:
    """-inf (an id that cannot be) becomes finite, in place: 0 * -1e30 is 0, 0 * -inf is not."""
    return log_probs.clamp_(min=LOWEST)


def through_softmax_(probs_NV: Tensor, gradient_NV: Tensor) -> Tensor:
    """The gradient for logits from one for their probabilities; overwrites `gradient_NV`.

    q * (g - sum(q * g)): the Jacobian of a softmax without building it.
    """
    mean_N1 = (probs_NV * gradient_NV).sum(1, keepdim=True)
    return gradient_NV.sub_(mean_N1).mul_(probs_NV)
