"""Textbook forms of every loss: dense, float64, differentiated by autograd. Slow and obvious.

All take logits of shape (N, V) and give a loss per token, T^2 included.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def cross_entropy(student: Tensor, targets: Tensor) -> Tensor:
    return -student.log_softmax(-1)[torch.arange(len(targets)), targets]


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """sum p (log p - log q)."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def forward_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    log_p, log_q = soft(teacher, temperature), soft(student, temperature)
    return temperature**2 * kl(log_p, log_q)


def reverse_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    log_p, log_q = soft(teacher, temperature), soft(student, temperature)
    return temperature**2 * kl(log_q, log_p)


def jsd(student: Tensor, teacher: Tensor, temperature: float = 1.0, beta: float = 0.5) -> Tensor:
    log_p, log_q = soft(teacher, temperature), soft(student, temperature)
    log_m = mixed(log_p, log_q, beta)
    return temperature**2 * (beta * kl(log_p, log_m) + (1 - beta) * kl(log_q, log_m))


def skewed_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    log_p, log_q = soft(teacher, temperature), soft(student, temperature)
    return temperature**2 * kl(log_p, mixed(log_p, log_q, 0.1))


def skewed_reverse_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    log_p, log_q = soft(teacher, temperature), soft(student, temperature)
    return temperature**2 * kl(log_q, mixed(log_q, log_p, 0.1))


def bucketed_kl(student: Tensor, teacher: Tensor, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """KL between the two distributions over K + 1 buckets: K ids and everything else."""
    p, q = soft(teacher, temperature).exp(), soft(student, temperature).exp()
    outside = torch.ones_like(p).scatter(1, ids, 0.0)
    buckets = []
    for x in (p, q):
        both = [x.gather(1, ids), (x * outside).sum(1, keepdim=True)]
        buckets.append(torch.cat(both, 1).clamp(min=1e-300).log())  # 0 log 0 = 0
    return temperature**2 * kl(buckets[0], buckets[1])


def sampled_kl(
    student: Tensor, teacher: Tensor, ids: Tensor, shares: Tensor, temperature: float = 1.0
) -> Tensor:
    log_p, log_q = soft(teacher, temperature), soft(student, temperature)
    ratio = log_p.gather(1, ids) - log_q.gather(1, ids)
    return temperature**2 * (shares * ratio).sum(-1)


def soft(logits: Tensor, temperature: float) -> Tensor:
    """Log-probabilities at a temperature; -inf becomes finite."""
    return (logits / temperature).log_softmax(-1).clamp(min=-1e30)


def mixed(log_a: Tensor, log_b: Tensor, share: float) -> Tensor:
    """Logarithm of share * a + (1 - share) * b."""
    return torch.logaddexp(log_a + math.log(share), log_b + math.log(1 - share))


DENSE: dict[str, Callable[..., Tensor]] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "jsd": jsd,
    "skewed_kl": skewed_kl,
    "skewed_reverse_kl": skewed_reverse_kl,
}


def uld(m: Tensor, t: Tensor) -> Tensor:
    """|m_(i) - t_(i)| of two rows of weights, sorted from the largest down, filled with zeros."""
    longest = max(len(m), len(t))
    heights = m.tolist()
    ours = m[sorted(range(len(m)), key=lambda v: -heights[v])] if heights else m
    theirs = sorted(t.tolist(), reverse=True)
    found = torch.zeros((), dtype=m.dtype)
    for i in range(longest):
        a = ours[i] if i < len(m) else torch.zeros((), dtype=m.dtype)
        b = theirs[i] if i < len(t) else 0.0
        found = found + (a - b).abs()
    return found


def hybrid(m: Tensor, t: Tensor, shared: list[tuple[int, int]]) -> Tensor:
    """KL of the shared (student's id, teacher's id) with both masses, `uld` of the others."""
    found = torch.zeros((), dtype=m.dtype)
    for v, u in shared:
        found = found + t[u] * (t[u].log() - m[v].log()) - t[u] + m[v]
    ours = [v for v in range(len(m)) if v not in {a for a, _ in shared}]
    theirs = [u for u in range(len(t)) if u not in {b for _, b in shared}]
    return found + uld(m[ours], t[theirs])


def merged(logits: Tensor, ids: Tensor, start: int, stop: int) -> Tensor:
    """Probabilities in place `start`, times those of the tokens that follow up to `stop`."""
    found = logits[start].softmax(-1)
    for place in range(start + 1, stop):
        found = found * logits[place].softmax(-1)[ids[place]]
    return found
