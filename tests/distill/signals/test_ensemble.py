"""The mixture of several teachers against dense float64 references, value and gradient."""

import pytest
import torch
from torch import Tensor

from distill_studio.distill.head import Head, Projection
from distill_studio.distill.losses.distill_term import DistillTerm, Divergence
from distill_studio.distill.losses.entropy import Entropy
from distill_studio.distill.losses.forward_kl import ForwardKl
from distill_studio.distill.losses.reverse_kl import ReverseKl
from distill_studio.distill.losses.tiled import tiled_loss
from distill_studio.distill.signals.ensemble import DenseMixture
from distill_studio.distill.signals.online import DenseTeacher

N, V = 11, 23
WEIGHTS = (0.5, 0.3, 0.2)


def states(width: int, seed: int) -> tuple[Tensor, Head]:
    made = torch.Generator().manual_seed(seed)
    hidden_NH = torch.randn(N, width, generator=made, dtype=torch.float64)
    return hidden_NH, Head(torch.randn(V, width, generator=made, dtype=torch.float64))


@pytest.fixture
def teachers() -> list[tuple[Tensor, Head]]:
    """Three teachers of unlike widths."""
    return [states(width, seed) for seed, width in enumerate((5, 8, 13))]


def mixture(teachers: list[tuple[Tensor, Head]], temperature: float) -> DenseMixture:
    parts = [
        DenseTeacher(hidden, Projection(head, hidden.dtype, hidden.device))
        for hidden, head in teachers
    ]
    return DenseMixture(parts, WEIGHTS, temperature)


def dense(teachers: list[tuple[Tensor, Head]], temperature: float) -> Tensor:
    """log of (sum_k w_k softmax(z_k)), tempered."""
    mixed = sum(
        weight * (hidden @ head.weight_VH.T).softmax(-1)
        for weight, (hidden, head) in zip(WEIGHTS, teachers, strict=True)
    )
    assert isinstance(mixed, Tensor)
    return (mixed.log() / temperature).log_softmax(-1)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("divergence", [ForwardKl(), ReverseKl()])
def test_value_and_gradient_are_those_of_the_dense_mixture(
    teachers: list[tuple[Tensor, Head]], divergence: Divergence, temperature: float
) -> None:
    hidden_NH, head = states(7, 9)
    ours = hidden_NH.clone().requires_grad_()
    term = DistillTerm(divergence, mixture(teachers, temperature), temperature)
    total = tiled_loss(ours, head, [term], tile_tokens=4).total
    total.backward()

    reference = hidden_NH.clone().requires_grad_()
    log_p = dense(teachers, temperature)
    log_q = (reference @ head.weight_VH.T / temperature).log_softmax(-1)
    sides = (log_p, log_q) if isinstance(divergence, ForwardKl) else (log_q, log_p)
    expected = temperature**2 * (sides[0].exp() * (sides[0] - sides[1])).sum()
    expected.backward()
    assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-7, atol=1e-10)


def test_forward_kl_to_a_mixture_has_the_gradient_of_the_weighted_sum(
    teachers: list[tuple[Tensor, Head]],
) -> None:
    hidden_NH, head = states(7, 9)
    gradients = []
    for parts in ([mixture(teachers, 1.0)], list(mixture(teachers, 1.0)._parts)):
        ours = hidden_NH.clone().requires_grad_()
        weights = (1.0,) if len(parts) == 1 else WEIGHTS
        terms = [
            DistillTerm(ForwardKl(), part, weight=weight, name=str(n))
            for n, (part, weight) in enumerate(zip(parts, weights, strict=True))
        ]
        tiled_loss(ours, head, terms).total.backward()
        assert ours.grad is not None
        gradients.append(ours.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-8, atol=1e-12)


def test_stretches_of_a_mixture_are_its_rows(teachers: list[tuple[Tensor, Head]]) -> None:
    whole = mixture(teachers, 2.0)
    parts = whole.split([4, 0, 7])
    assert [len(part) for part in parts] == [4, 0, 7]
    rows = torch.cat([part(slice(None)) for part in parts])
    torch.testing.assert_close(rows, dense(teachers, 2.0))
    torch.testing.assert_close(whole(slice(2, 6)), dense(teachers, 2.0)[2:6])


def test_entropy_is_watched_and_not_learned() -> None:
    hidden_NH, head = states(7, 9)
    ours = hidden_NH.clone().requires_grad_()
    sums = tiled_loss(ours, head, [Entropy()], tile_tokens=3)
    log_q = (hidden_NH @ head.weight_VH.T).log_softmax(-1)
    assert float(sums.parts["entropy"]) == pytest.approx(float(-(log_q.exp() * log_q).sum()))
    sums.total.backward()
    assert ours.grad is not None
    assert not ours.grad.any()
