"""Every loss in value and gradient against its textbook form, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill_studio.distill.head import Head
from distill_studio.distill.losses import DIVERGENCES
from distill_studio.distill.losses.cross_entropy import CrossEntropy
from distill_studio.distill.losses.distill_term import DistillTerm
from distill_studio.distill.losses.sampled_kl import Draws, SampledKl
from distill_studio.distill.losses.softmax import finite_
from distill_studio.distill.losses.sparse_kl import SparseKl, TopK
from distill_studio.distill.losses.tiled import LossSums, Term, tiled_loss
from tests.distill.losses import reference

N, V, H = 11, 37, 5


def random_logits(scale: float = 2.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(N, V, generator=generator, dtype=torch.float64)


def peaked(height: float) -> Tensor:
    """One id far above the others, another id for each token."""
    logits = random_logits(0.5, 3)
    logits[torch.arange(N), torch.arange(N) % V] += height
    return logits


STUDENTS = {"random": random_logits(), "peaked": peaked(12.0), "huge": random_logits(300.0, 5)}
TEACHERS = {
    "random": random_logits(2.0, 1),
    "equal": random_logits(),
    "peaked": peaked(15.0),
    "tail of e^-33": peaked(36.0),
    "huge": random_logits(300.0, 7),
}


def identity_head() -> Head:
    """Logits are hidden states: the loss sees exactly the logits of a case."""
    return Head(torch.eye(V, dtype=torch.float64))


def close(ours: Tensor, theirs: Tensor) -> None:
    scale = max(float(theirs.detach().abs().max()), 1e-9)
    assert float((ours - theirs).detach().abs().max()) <= 1e-6 * scale


def same(terms: list[Term], expected: Callable[[Tensor], Tensor], student: Tensor) -> None:
    """Value and gradient of the sum of `terms` for these logits."""
    ours, theirs = student.clone().requires_grad_(), student.clone().requires_grad_()
    total = tiled_loss(ours, identity_head(), terms, tile_tokens=4).total
    total.backward()
    textbook = expected(theirs).sum()
    textbook.backward()
    close(total, textbook)
    assert ours.grad is not None
    assert theirs.grad is not None
    close(ours.grad, theirs.grad)


def log_probs_of(teacher: Tensor, temperature: float = 1.0) -> Callable[[slice], Tensor]:
    return lambda tokens: finite_((teacher[tokens] / temperature).log_softmax(-1))


def top_k(teacher: Tensor, k: int, temperature: float = 1.0) -> TopK:
    log_p = (teacher / temperature).log_softmax(-1)
    head, ids = log_p.topk(k, 1)
    return TopK(ids, head, log_p.scatter(1, ids, float("-inf")).logsumexp(1))


def stretch(record: TopK) -> Callable[[slice], TopK]:
    return lambda s: TopK(record.ids_NK[s], record.log_probs_NK[s], record.log_tail_N[s])


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("teacher", TEACHERS)
@pytest.mark.parametrize("kind", DIVERGENCES)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_dense_divergences(kind: str, student: str, teacher: str, temperature: float) -> None:
    z, y = STUDENTS[student], TEACHERS[teacher]
    term = DistillTerm(DIVERGENCES[kind](), log_probs_of(y, temperature), temperature)
    same([term], lambda x: reference.DENSE[kind](x, y, temperature), z)


@pytest.mark.parametrize("kind", ["forward_kl", "skewed_kl", "jsd"])
def test_a_one_hot_teacher_is_cross_entropy_or_finite(kind: str) -> None:
    targets = torch.arange(N) % V
    one_hot = torch.full((N, V), float("-inf"), dtype=torch.float64)
    one_hot[torch.arange(N), targets] = 0.0
    term = DistillTerm(DIVERGENCES[kind](), log_probs_of(one_hot))
    same([term], lambda x: reference.DENSE[kind](x, one_hot), STUDENTS["random"])
    if kind == "forward_kl":
        same([term], lambda x: reference.cross_entropy(x, targets), STUDENTS["random"])


@pytest.mark.parametrize("beta", [0.1, 0.9])
def test_jsd_at_other_betas(beta: float) -> None:
    y = TEACHERS["random"]
    term = DistillTerm(DIVERGENCES["jsd"](beta=beta), log_probs_of(y, 2.0), 2.0)
    same([term], lambda x: reference.jsd(x, y, 2.0, beta), STUDENTS["random"])


@pytest.mark.parametrize("student", STUDENTS)
def test_cross_entropy(student: str) -> None:
    targets = torch.arange(N) * 3 % V
    same(
        [CrossEntropy(targets)],
        lambda x: reference.cross_entropy(x, targets),
        STUDENTS[student],
    )


@pytest.mark.parametrize("k", [1, 2, 8, V - 1, V])
@pytest.mark.parametrize("teacher", ["random", "equal", "peaked"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_sparse_kl_is_the_bucketed_kl(k: int, teacher: str, temperature: float) -> None:
    y = TEACHERS[teacher]
    record = top_k(y, k, temperature)
    term = DistillTerm(SparseKl(), stretch(record), temperature)
    same(
        [term],
        lambda x: reference.bucketed_kl(x, y, record.ids_NK, temperature),
        STUDENTS["random"],
    )
    if k == V:
        same([term], lambda x: reference.forward_kl(x, y, temperature), STUDENTS["random"])


def test_the_rest_of_the_kl_is_the_shape_of_the_tail() -> None:
    z, y = STUDENTS["random"], TEACHERS["random"]
    record = top_k(y, 5)
    sparse, _ = SparseKl()(z.log_softmax(-1), record, wants_gradient=False)
    hidden = torch.full((N, V), 0.0, dtype=torch.float64).scatter(1, record.ids_NK, float("-inf"))
    shape = reference.kl(reference.soft(y + hidden, 1.0), reference.soft(z + hidden, 1.0))
    close(sparse + record.log_tail_N.exp() * shape, reference.forward_kl(z, y))


def test_a_tail_of_e_minus_33_keeps_its_gradient_in_fp32() -> None:
    """`log(1 - sum of the head)` would say 0 or minus infinity here."""
    logits = torch.zeros(1, 3)
    logits[0, 0] = 33.78  # the two others together have e^-33.09
    tail = torch.tensor([-5.0])
    record = TopK(torch.tensor([[0]]), torch.tensor([[-0.0067]]), tail)
    loss, gradient = SparseKl()(logits.log_softmax(-1), record, wants_gradient=True)
    r = float(tail.exp())
    assert float(loss) == pytest.approx(r * (-5.0 + 33.0868) - 0.9933 * 0.0067, rel=1e-3)
    assert gradient is not None
    assert gradient[0, 1:].tolist() == pytest.approx([-r / 2, -r / 2], rel=1e-3)


def test_a_tail_that_the_student_lacks_or_the_teacher_lacks() -> None:
    z = STUDENTS["random"]
    record = top_k(TEACHERS["random"], V)
    rounded = TopK(record.ids_NK, record.log_probs_NK, torch.full((N,), -12.0, dtype=z.dtype))
    loss, gradient = SparseKl()(z.log_softmax(-1), rounded, wants_gradient=True)
    dense = reference.forward_kl(z, TEACHERS["random"])
    close(loss, dense)  # no id is left that the stored tail could belong to
    assert gradient is not None
    assert bool(gradient.isfinite().all())
    sure = TopK(record.ids_NK[:, :1], torch.zeros(N, 1), torch.full((N,), float("-inf")))
    loss, gradient = SparseKl()(z.log_softmax(-1), sure, wants_gradient=True)
    close(loss, reference.cross_entropy(z, record.ids_NK[:, 0]))


def test_head_and_tail_are_not_renormalised() -> None:
    """At the optimum the student gives the head its true mass P, not 1."""
    y = TEACHERS["random"]
    record = top_k(y, 3)
    z = y.clone().requires_grad_()
    tiled_loss(z, identity_head(), [DistillTerm(SparseKl(), stretch(record))]).total.backward()
    assert z.grad is not None
    assert float(z.grad.abs().max()) < 1e-12


def test_sampled_kl_and_its_expectation() -> None:
    z, y = STUDENTS["random"], TEACHERS["random"]
    generator = torch.Generator().manual_seed(2)
    drawn = y.softmax(-1).multinomial(4000, replacement=True, generator=generator)
    counts = torch.zeros(N, V, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(drawn.shape, dtype=torch.float64)
    )
    shares, ids = (counts / 4000).topk(V, 1)
    record = Draws(ids, shares, y.log_softmax(-1).gather(1, ids))

    def teacher(s: slice) -> Draws:
        return Draws(record.ids_NK[s], record.shares_NK[s], record.log_probs_NK[s])

    term = DistillTerm(SampledKl(), teacher)
    same([term], lambda x: reference.sampled_kl(x, y, ids, shares), z)
    estimate, gradient = SampledKl()(z.log_softmax(-1), record, wants_gradient=True)
    assert gradient is not None
    assert float((estimate - reference.forward_kl(z, y)).abs().max()) < 0.15
    assert float((gradient - (z.softmax(-1) - y.softmax(-1))).abs().max()) < 0.03


def test_alpha_ce_and_beta_kl_over_another_width() -> None:
    """CE over all the student's ids at T = 1, KL over those that both have at T = 2."""
    width, targets = V - 4, torch.arange(N)
    z, y = STUDENTS["random"], TEACHERS["random"][:, :width]
    terms: list[Term] = [
        CrossEntropy(targets, weight=0.3),
        DistillTerm(DIVERGENCES["forward_kl"](), log_probs_of(y, 2.0), 2.0, width, weight=0.7),
    ]
    same(
        terms,
        lambda x: (
            0.3 * reference.cross_entropy(x, targets)
            + 0.7 * reference.forward_kl(x[:, :width], y, 2.0)
        ),
        z,
    )


# -- properties ---------------------------------------------------------------------------

LOGITS = st.lists(st.floats(-30, 30), min_size=12, max_size=12)


@pytest.mark.parametrize("kind", DIVERGENCES)
@settings(max_examples=60, deadline=None)
@given(first=LOGITS, second=LOGITS)
def test_never_negative_and_zero_only_at_equality(
    kind: str, first: list[float], second: list[float]
) -> None:
    z, y = (torch.tensor([x], dtype=torch.float64).log_softmax(-1) for x in (first, second))
    loss, _ = DIVERGENCES[kind]()(z, y, wants_gradient=False)
    assert float(loss) >= -1e-12
    itself, gradient = DIVERGENCES[kind]()(z, z.clone(), wants_gradient=True)
    assert abs(float(itself)) < 1e-12
    assert gradient is not None
    assert float(gradient.abs().max()) < 1e-12
    if float((z.exp() - y.exp()).abs().max()) > 1e-3:
        assert float(loss) > 0


@settings(max_examples=60, deadline=None)
@given(first=LOGITS, second=LOGITS)
def test_jsd_is_symmetric_at_one_half(first: list[float], second: list[float]) -> None:
    z, y = (torch.tensor([x], dtype=torch.float64).log_softmax(-1) for x in (first, second))
    jsd = DIVERGENCES["jsd"]()
    one, _ = jsd(z, y, wants_gradient=False)
    other, _ = jsd(y, z, wants_gradient=False)
    assert float(one) == pytest.approx(float(other), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(first=LOGITS, second=LOGITS, k=st.integers(1, 12))
def test_top_k_is_a_lower_bound_that_grows_with_k(
    first: list[float], second: list[float], k: int
) -> None:
    z, y = (torch.tensor([x], dtype=torch.float64) for x in (first, second))
    dense = float(reference.forward_kl(z, y))
    losses = [
        float(SparseKl()(z.log_softmax(-1), top_k(y, size, 1.0), wants_gradient=False)[0])
        for size in (k, min(k + 1, 12))
    ]
    assert -1e-12 <= losses[0] <= losses[1] + 1e-9 <= dense + 1e-8


def parts_of(sums: LossSums) -> dict[str, float]:
    return {name: float(value) for name, value in sums.parts.items()}


def test_parts_are_unweighted_and_measuring_needs_no_gradient() -> None:
    z, y, targets = STUDENTS["random"].clone().requires_grad_(), TEACHERS["random"], torch.arange(N)
    terms: list[Term] = [
        CrossEntropy(targets, weight=0.3),
        DistillTerm(DIVERGENCES["forward_kl"](), log_probs_of(y), weight=0.7),
    ]
    with torch.no_grad():
        sums = tiled_loss(z, identity_head(), terms)
    assert not sums.total.requires_grad
    assert sums.tokens == N
    found = parts_of(sums)
    assert found["ce"] == pytest.approx(float(reference.cross_entropy(z, targets).sum()))
    assert found["kl"] == pytest.approx(float(reference.forward_kl(z, y).sum()))
    assert float(sums.total) == pytest.approx(0.3 * found["ce"] + 0.7 * found["kl"])
