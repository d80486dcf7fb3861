"""Distillation losses: pure functions of tensors, one file each.

Start from `tiled.tiled_loss`: hidden states, a head and terms in; sums over tokens and their count
out. A term is `cross_entropy.CrossEntropy`, or a `distill_term.DistillTerm` around a divergence.
`DIVERGENCES` are those between two whole distributions, by the name that `run.json` uses.
"""

from collections.abc import Callable

from distill_studio.distill.losses.distill_term import Divergence
from distill_studio.distill.losses.forward_kl import ForwardKl
from distill_studio.distill.losses.jsd import Jsd
from distill_studio.distill.losses.reverse_kl import ReverseKl
from distill_studio.distill.losses.skewed_kl import SkewedKl, SkewedReverseKl

DIVERGENCES: dict[str, Callable[..., Divergence]] = {
    "forward_kl": ForwardKl,
    "reverse_kl": ReverseKl,
    "jsd": Jsd,
    "skewed_kl": SkewedKl,
    "skewed_reverse_kl": SkewedReverseKl,
}
