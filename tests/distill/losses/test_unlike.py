"""Distances across vocabularies and spans of tokens against their textbook forms, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from distill_studio.distill.head import Head
from distill_studio.distill.losses.aligned_term import AlignedTerm
from distill_studio.distill.losses.cross_entropy import CrossEntropy
from distill_studio.distill.losses.distill_term import DistillTerm
from distill_studio.distill.losses.forward_kl import ForwardKl
from distill_studio.distill.losses.tiled import LossSums, tiled_loss
from distill_studio.distill.losses.unlike import HybridDistance, UldDistance, UnlikeDistance
from tests.distill.losses import reference

N, M, PADDING = 12, 14, 3
# First token and last + 1 of the student's, then of the teacher's; 3 and 11 of the student's and 2,
# 8 and 9 of the teacher's stand in no span.
SPANS = [
    [0, 1, 0, 1],
    [1, 2, 1, 2],
    [2, 3, 3, 6],
    [4, 8, 6, 7],
    [8, 9, 7, 8],
    [9, 11, 10, 14],
]


def logits(rows: int, vocab: int, seed: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, vocab, generator=generator, dtype=torch.float64)


def draw(count: int, vocab: int, seed: int) -> Tensor:
    return torch.randint(0, vocab, (count,), generator=torch.Generator().manual_seed(seed))


def hybrid_of(shared: list[tuple[int, int]], v: int, u: int) -> HybridDistance:
    ours, theirs = [a for a, _ in shared], [b for _, b in shared]
    rest = [[i for i in range(n) if i not in used] for n, used in ((v, ours), (u, theirs))]
    return HybridDistance(*(torch.tensor(x, dtype=torch.long) for x in (ours, theirs, *rest)))


def term_of(distance: UnlikeDistance, z: Tensor, y: Tensor, **fields: Any) -> AlignedTerm:
    given = {
        "distance": distance,
        "teacher": lambda at: y[at].log_softmax(-1),
        "spans_G4": torch.tensor(SPANS).reshape(-1, 4),
        "ours_N": draw(N, z.shape[1] - PADDING, 8),
        "theirs_M": draw(M, y.shape[1], 9),
        "width": z.shape[1] - PADDING,
        "teacher_width": y.shape[1],
        "weight": 0.7,
    }
    return AlignedTerm(**(given | fields))


def summed(z: Tensor, *terms: Any, tile: int = 4) -> tuple[LossSums, Tensor]:
    """Sums and gradient for logits."""
    leaf = z.clone().requires_grad_()
    head = Head(torch.eye(z.shape[1], dtype=z.dtype))
    sums = tiled_loss(leaf, head, terms, tile_tokens=tile)
    sums.total.backward()
    assert leaf.grad is not None
    return sums, leaf.grad


def close(ours: Tensor, theirs: Tensor) -> None:
    scale = max(float(theirs.detach().abs().max()), 1e-9)
    assert float((ours - theirs).detach().abs().max()) <= 1e-6 * scale


def same_as_textbook(
    z: Tensor, y: Tensor, shared: list[tuple[int, int]] | None, **fields: Any
) -> None:
    v, u = z.shape[1] - PADDING, y.shape[1]
    distance = UldDistance() if shared is None else hybrid_of(shared, v, u)
    term = term_of(distance, z, y, **fields)
    sums, gradient = summed(z, term)
    leaf = z.clone().requires_grad_()
    expected = torch.zeros((), dtype=z.dtype)
    for a, b, c, d in term.spans_G4.tolist():
        m = reference.merged(leaf[:, :v], term.ours_N, a, b)
        t = reference.merged(y, term.theirs_M, c, d)
        expected = expected + (
            reference.uld(m, t) if shared is None else reference.hybrid(m, t, shared)
        )
    (0.7 * expected).backward()
    assert leaf.grad is not None
    close(sums.parts["kl"], expected)
    close(sums.total, 0.7 * expected)
    close(gradient, leaf.grad)
    with torch.no_grad():
        head = Head(torch.eye(z.shape[1], dtype=z.dtype))
        close(tiled_loss(z, head, [term]).total, 0.7 * expected)  # in one tile, as when measuring


@pytest.mark.parametrize(("v", "u"), [(21, 21), (21, 34), (34, 21), (5, 60)])
@pytest.mark.parametrize("kind", ["uld", "hybrid", "contained", "nothing shared"])
def test_value_and_gradient_are_the_textbook_ones(v: int, u: int, kind: str) -> None:
    z, y = logits(N, v + PADDING, 1), logits(M, u, 2)
    if v + u > 50:
        y = logits(M, u, 2, 40.0)  # one id has all there is
    least = min(v, u)
    shared = {
        "uld": None,
        "hybrid": [(i, least - 1 - i) for i in range(0, least, 2)],
        "contained": [(i, (i + 1) % least) for i in range(least)],  # of the smaller one, all
        "nothing shared": [],
    }[kind]
    same_as_textbook(z, y, shared)


@pytest.mark.parametrize("shared", [None, [(0, 1), (4, 4)]])
def test_ties_are_broken_by_the_order_of_the_ids(shared: list[tuple[int, int]] | None) -> None:
    z, y = logits(N, 10 + PADDING, 3).round(), logits(M, 13, 4).round()
    z[5], y[6] = 0.0, 0.0  # all alike
    same_as_textbook(z, y, shared)


@pytest.mark.parametrize("is_permuted", [False, True])
def test_what_is_the_same_has_no_distance(is_permuted: bool) -> None:
    y = logits(N, 15, 5)
    ids = [14 - i if is_permuted else i for i in range(15)]
    z = torch.cat([y[:, ids], torch.full((N, PADDING), 9.0, dtype=y.dtype)], 1)
    spans = torch.tensor([[i, i + 1, i, i + 1] for i in range(N)])
    for distance in (UldDistance(), hybrid_of([(i, ids[i]) for i in range(8)], 15, 15)):
        sums, gradient = summed(z, term_of(distance, z, y, spans_G4=spans))
        assert float(sums.total.detach()) == pytest.approx(0.0, abs=1e-12)
        if not is_permuted:  # else sums are rounded otherwise, and |x| has a kink at 0
            assert float(gradient.abs().max()) == 0.0


def test_with_one_tokenizer_the_hybrid_is_the_plain_loss() -> None:
    z, y = logits(N, 15, 6), logits(N, 12, 7)
    spans = torch.tensor([[i, i + 1, i, i + 1] for i in range(N)])
    hybrid = hybrid_of([(i, i) for i in range(12)], 12, 12)
    aligned = summed(z, term_of(hybrid, z, y, spans_G4=spans))
    plain = DistillTerm(ForwardKl(), lambda at: y[at].log_softmax(-1), width=12, weight=0.7)
    dense = summed(z, plain)
    close(aligned[0].total, dense[0].total)
    close(aligned[1], dense[1])


def test_without_spans_the_teacher_is_not_asked_and_the_answers_still_teach() -> None:
    def ask(_: slice) -> Tensor:
        raise AssertionError

    z, y = logits(N, 10 + PADDING, 1), logits(M, 10, 2)
    nothing = torch.zeros((0, 4), dtype=torch.long)
    term = term_of(UldDistance(), z, y, spans_G4=nothing, teacher=ask)
    labels = CrossEntropy(draw(N, 10, 3))
    sums, gradient = summed(z, labels, term)
    assert float(sums.parts["kl"]) == 0.0
    close(gradient, summed(z, labels)[1])


@pytest.mark.parametrize("tile", [1, 3, 5, 100])
def test_no_tile_cuts_a_span(tile: int) -> None:
    z, y = logits(N, 10 + PADDING, 1), logits(M, 12, 2)
    term = term_of(UldDistance(), z, y)
    whole, cut = summed(z, term, tile=100), summed(z, term, tile=tile)
    close(cut[0].total, whole[0].total)
    close(cut[1], whole[1])
