"""The tiled sum: heads, gradients, shift, mask, accumulation, tied weights, dtypes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.head import Head
from distill_studio.distill.losses import DIVERGENCES
from distill_studio.distill.losses.cross_entropy import CrossEntropy
from distill_studio.distill.losses.distill_term import DistillTerm
from distill_studio.distill.losses.hidden_state import (
    cosine_distance,
    mean_squared_error,
    project,
)
from distill_studio.distill.losses.mask import learned_positions, learned_targets, normalise
from distill_studio.distill.losses.tiled import LossSums, Term, tiled_loss
from tests.distill.losses import reference

B, T, V, H, G = 3, 9, 41, 6, 4
M = -100


def made(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def labels_with_prompts() -> Tensor:
    """Prompts of 3, 5 and T tokens (nothing to learn), a gap in the first row, padding."""
    labels = torch.randint(0, V, (B, T), generator=torch.Generator().manual_seed(4))
    labels[0, :3] = M
    labels[0, 5] = M
    labels[1, :5] = M
    labels[1, 8:] = M
    labels[2, :] = M
    return labels


def ours(
    hidden_BTH: Tensor,
    head: Head,
    teacher_BTG: Tensor,
    teacher_head: Head,
    labels: Tensor,
    temperature: float = 2.0,
    **options: Any,
) -> LossSums:
    """0.4 CE + 0.6 T^2 KL as the trainer puts it together."""
    where = learned_positions(labels)
    states_NG = teacher_BTG[where]

    def teacher(tokens: slice) -> Tensor:
        logits = states_NG[tokens] @ teacher_head.weight_VH.T.to(states_NG.dtype)
        return (
            logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        ).log_softmax(-1)

    terms: list[Term] = [
        CrossEntropy(learned_targets(labels), weight=0.4),
        DistillTerm(DIVERGENCES["forward_kl"](), teacher, temperature, weight=0.6),
    ]
    return tiled_loss(hidden_BTH[where], head, terms, **options)


def textbook(
    hidden_BTH: Tensor, head: Head, teacher_BTG: Tensor, teacher_head: Head, labels: Tensor
) -> Tensor:
    """The same sum, position by position: the logits at t against the label at t + 1."""
    total = hidden_BTH.new_zeros(())
    for b in range(labels.shape[0]):
        for t in range(labels.shape[1] - 1):
            target = int(labels[b, t + 1])
            if target == M:
                continue
            z = hidden_BTH[b, t] @ head.weight_VH.T
            if head.bias_V is not None:
                z = z + head.bias_V
            z = z * head.scale
            if head.softcap is not None:
                z = head.softcap * torch.tanh(z / head.softcap)
            y = teacher_BTG[b, t] @ teacher_head.weight_VH.T
            ce = functional.cross_entropy(z[None], torch.tensor([target]))
            kl = reference.forward_kl(z[None], y[None], 2.0).sum()
            total = total + 0.4 * ce + 0.6 * kl
    return total


@pytest.mark.parametrize("tile", [1, 2, 5, 1000])
@pytest.mark.parametrize("kind", ["plain", "bias", "scale and softcap"])
def test_value_and_all_gradients(kind: str, tile: int) -> None:
    teacher_head = Head(made(V, G, seed=3))
    teacher_BTG, labels = made(B, T, G, seed=2), labels_with_prompts()
    results = []
    for loss in (ours, textbook):
        hidden = made(B, T, H, seed=1).requires_grad_()
        weight = made(V, H, seed=5).requires_grad_()
        bias = made(V, seed=6).requires_grad_() if kind == "bias" else None
        options = {"scale": 0.5, "softcap": 3.0} if kind == "scale and softcap" else {}
        head = Head(weight, bias, **options)
        if loss is ours:
            total = ours(hidden, head, teacher_BTG, teacher_head, labels, tile_tokens=tile).total
        else:
            total = textbook(hidden, head, teacher_BTG, teacher_head, labels)
        (total * 0.25).backward()
        results.append([
            total,
            hidden.grad,
            weight.grad,
            *([bias.grad] if bias is not None else []),
        ])
    for found, expected in zip(*results, strict=True):
        assert found is not None
        scale = float(expected.abs().max())
        assert float((found - expected).abs().max()) <= 1e-6 * scale


def test_only_learned_positions_get_a_gradient_one_before_their_label() -> None:
    labels = torch.full((1, 6), M)
    labels[0, 3] = 7
    hidden = made(1, 6, H).requires_grad_()
    sums = ours(hidden, Head(made(V, H, seed=5)), made(1, 6, G), Head(made(V, G)), labels)
    sums.total.backward()
    assert sums.tokens == 1
    assert hidden.grad is not None
    assert [bool(row.any()) for row in hidden.grad[0]] == [False, False, True, False, False, False]
    assert learned_positions(labels).tolist() == [[False, False, True, False, False, False]]
    assert learned_targets(labels).tolist() == [7]


def test_the_first_label_and_padding_never_count() -> None:
    labels = torch.tensor([[5, 6, M], [4, M, M]])
    assert learned_positions(labels).tolist() == [[True, False, False], [False, False, False]]
    assert learned_targets(labels).tolist() == [6]


def test_nothing_to_learn_is_a_zero_that_can_be_differentiated() -> None:
    hidden = made(B, T, H).requires_grad_()
    labels = torch.full((B, T), M)
    sums = ours(hidden, Head(made(V, H)), made(B, T, G), Head(made(V, G)), labels)
    normalise(sums.total, sums.tokens, None).backward()
    assert float(sums.total) == 0.0
    assert hidden.grad is not None
    assert not bool(hidden.grad.any())


def test_accumulated_passes_are_one_big_pass() -> None:
    """Rows of unlike lengths in passes of their own: same gradient as all at once."""
    labels, weight = labels_with_prompts(), made(V, H, seed=5)
    teacher_head, teacher_BTG = Head(made(V, G, seed=3)), made(B, T, G, seed=2)
    whole = made(B, T, H, seed=1).requires_grad_()
    sums = ours(whole, Head(weight), teacher_BTG, teacher_head, labels)
    items = int(learned_positions(labels).sum())
    normalise(sums.total, sums.tokens, items).backward()
    apart = made(B, T, H, seed=1).requires_grad_()
    for row in range(B):
        rows = slice(row, row + 1)
        part = ours(apart[rows], Head(weight), teacher_BTG[rows], teacher_head, labels[rows])
        normalise(part.total, part.tokens, torch.tensor(items)).backward()
    assert whole.grad is not None
    assert apart.grad is not None
    assert torch.allclose(whole.grad, apart.grad, rtol=1e-9, atol=1e-15)
    assert float(normalise(torch.tensor(6.0), 3, None)) == 2.0
    assert float(normalise(torch.tensor(6.0), 3, 12, processes=2)) == 1.0


def test_a_frozen_head_gets_no_gradient_and_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from distill_studio.distill.head import Projection

    def refuse(*_: Any) -> None:
        raise AssertionError("the gradient of a frozen head was worked out")

    monkeypatch.setattr(Projection, "add_to_weight", refuse)
    hidden = made(B, T, H).requires_grad_()
    head = Head(made(V, H, seed=5))
    ours(hidden, head, made(B, T, G), Head(made(V, G)), labels_with_prompts()).total.backward()
    assert hidden.grad is not None
    assert head.weight_VH.grad is None


def test_tied_embeddings_get_both_gradients() -> None:
    labels = labels_with_prompts()
    ids = labels.clamp(min=0)
    teacher_head, teacher_BTG = Head(made(V, G, seed=3)), made(B, T, G, seed=2)
    grads = []
    for loss in (ours, textbook):
        table = made(V, H, seed=5).requires_grad_()
        hidden = functional.embedding(ids, table) * 0.7
        result = loss(hidden, Head(table), teacher_BTG, teacher_head, labels)
        (result.total if isinstance(result, LossSums) else result).backward()
        grads.append(table.grad)
    assert torch.allclose(grads[0], grads[1], rtol=1e-9, atol=1e-12)


def test_bf16_states_are_multiplied_and_summed_in_fp32() -> None:
    """Rounding every tile to bf16 would lose most of 64 small tiles."""
    labels = torch.randint(0, V, (1, 65), generator=torch.Generator().manual_seed(1))
    teacher_head, teacher = Head(made(V, G, seed=3)), made(1, 65, G, seed=2)
    hidden = made(1, 65, H, dtype=torch.bfloat16).requires_grad_()
    weight = made(V, H, seed=5, dtype=torch.bfloat16).requires_grad_()
    sums = ours(hidden, Head(weight), teacher.float(), teacher_head, labels, tile_tokens=1)
    sums.total.backward()
    exact_hidden = hidden.detach().double().requires_grad_()
    exact_weight = weight.detach().double().requires_grad_()
    exact = ours(exact_hidden, Head(exact_weight), teacher, teacher_head, labels)
    exact.total.backward()
    assert sums.total.dtype == torch.float32
    assert float(sums.total) == pytest.approx(float(exact.total), rel=1e-5)
    assert weight.grad is not None
    assert exact_weight.grad is not None
    assert weight.grad.dtype == torch.bfloat16
    error = (weight.grad.double() - exact_weight.grad).abs().max() / exact_weight.grad.abs().max()
    assert float(error) < 2**-8  # one rounding, at the end


def test_autocast_does_not_round_logits() -> None:
    labels = torch.randint(0, V, (1, 20), generator=torch.Generator().manual_seed(1))
    hidden, head = made(1, 20, H, dtype=torch.float32), Head(made(V, H, dtype=torch.float32))
    teacher = made(1, 20, G, dtype=torch.float32)
    other = Head(made(V, G, dtype=torch.float32))
    plain = ours(hidden, head, teacher, other, labels, 1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = ours(hidden, head, teacher, other, labels, 1.0)
    assert torch.equal(plain.parts["ce"], mixed.parts["ce"])
    assert mixed.total.dtype == torch.float32
    expected = 0.4 * mixed.parts["ce"] + 0.6 * mixed.parts["kl"]
    assert torch.allclose(mixed.total, expected, rtol=1e-6)


def test_the_head_of_a_model(tiny_model: Any) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    head = Head.of(model)
    assert head.weight_VH is model.lm_head.weight
    assert (head.scale, head.softcap) == (1.0, None)
    assert head.first(10).vocab == 10
    assert head.first(head.vocab) is head
    assert not head.without_gradient().weight_VH.requires_grad
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    assert Head.of(adapted).weight_VH is head.weight_VH
    again = AutoModelForCausalLM.from_pretrained(tiny_model)
    covered = get_peft_model(again, LoraConfig(target_modules=["lm_head"], task_type="CAUSAL_LM"))
    with pytest.raises(InvalidInput, match="output layer"):
        Head.of(covered)


def test_scaled_and_capped_logits_are_those_of_the_model() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

    sizes = {
        "vocab_size": 23,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    capped = Gemma2ForCausalLM(
        Gemma2Config(**sizes, head_dim=8, final_logit_softcapping=2.0, initializer_range=1.0)
    )
    scaled = GraniteForCausalLM(GraniteConfig(**sizes, logits_scaling=4.0, initializer_range=1.0))
    from distill_studio.distill.head import Projection

    for model in (capped.eval(), scaled.eval()):
        ids = torch.arange(1, 9)[None]
        with torch.no_grad():
            hidden = model.model(ids).last_hidden_state[0]
            found = Projection(Head.of(model), hidden.dtype, hidden.device).logits(hidden)
            assert torch.allclose(found, model(ids).logits[0], atol=1e-5)
    assert Head.of(capped).softcap == 2.0
    assert Head.of(scaled).scale == 0.25


# -- hidden states ------------------------------------------------------------------------


def test_hidden_state_losses_by_hand() -> None:
    student = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[6.0, 8.0], [0.0, 2.0]], dtype=torch.float64)
    total, tokens = cosine_distance(student, teacher)
    assert (float(total), tokens) == (pytest.approx(1.0), 2)
    total, _ = mean_squared_error(student, teacher)  # of (-1, 1) and (-1, 1); (1, -1) and (-1, 1)
    assert float(total) == pytest.approx((4 + 4) / 2, abs=1e-3)
    moved, _ = mean_squared_error(5 * student + 2, teacher)
    assert float(moved) == pytest.approx(float(total), abs=1e-3)


def test_hidden_states_learn_through_a_projection_and_the_teacher_does_not() -> None:
    student = made(8, H, seed=1).requires_grad_()
    teacher = made(8, G, seed=2).requires_grad_()
    weight = made(G, H, seed=3).requires_grad_()
    for loss in (cosine_distance, mean_squared_error):
        total, tokens = loss(project(student, weight), teacher)
        total.backward()
        assert tokens == 8
    assert student.grad is not None
    assert weight.grad is not None
    assert teacher.grad is None
    assert project(student, None) is student
    assert torch.autograd.gradcheck(
        lambda s, w: mean_squared_error(project(s, w), teacher)[0], (student, weight)
    )
