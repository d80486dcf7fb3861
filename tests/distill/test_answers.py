"""SFT's loss inside the forward: the model's own, experts' balance included."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    GraniteMoeHybridConfig,
    MixtralConfig,
    ModernBertDecoderConfig,
    Qwen3MoeConfig,
)
from trl import SFTConfig, SFTTrainer

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.data import MASKED
from distill_studio.distill.head import check_head
from distill_studio.distill.losses.cross_entropy import CrossEntropy
from distill_studio.distill.losses.mask import learned_positions, learned_targets
from distill_studio.distill.losses.tiled import tiled_loss
from distill_studio.distill.trainers.answers import AnswerTrainer, add_loss_to_forward
from tests.tiny_model import tiny_tokenizer

_SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "output_router_logits": True,
    "router_aux_loss_coef": 0.5,
}
MIXTURES = {
    "mixtral": MixtralConfig(**_SHAPE, num_local_experts=4),
    "qwen3": Qwen3MoeConfig(**_SHAPE, num_experts=4, moe_intermediate_size=8, head_dim=8),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_of_experts_learns_what_the_library_would_teach_it(name: str) -> None:
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(MIXTURES[name])
    ids_BT = torch.randint(0, 97, (2, 12))
    labels_BT = ids_BT.clone()
    labels_BT[:, :4] = MASKED
    mask_BT = torch.ones_like(ids_BT)
    mask_BT[1, 9:] = 0
    labels_BT[1, 9:] = MASKED
    want = model(input_ids=ids_BT, attention_mask=mask_BT, labels=labels_BT).loss
    want.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    add_loss_to_forward(model, has_balance=True)
    where_BT = learned_positions(labels_BT)
    sums = model(
        input_ids=ids_BT,
        attention_mask=mask_BT,
        loss_of_states=lambda states_BTH, head: {
            "total": tiled_loss(
                states_BTH[where_BT], head, [CrossEntropy(learned_targets(labels_BT))]
            ).total
        },
    )
    assert float(sums["balance"].detach()) > 1.0, "the least is the number of experts per token"
    loss = sums["total"] / where_BT.sum() + 0.5 * sums["balance"]
    loss.backward()
    assert float(loss) == pytest.approx(float(want), rel=1e-5)
    for key, parameter in model.named_parameters():
        if key in gradients:
            torch.testing.assert_close(parameter.grad, gradients[key], rtol=1e-3, atol=1e-6)


def make(kind: type[SFTTrainer], config: Any, folder: Path) -> SFTTrainer:
    """A trainer of `kind` for a model of fixed weights, in the midst of an update of two passes."""
    torch.manual_seed(3)
    trainer = kind(
        model=AutoModelForCausalLM.from_config(config),
        args=SFTConfig(
            str(folder),
            use_cpu=True,
            bf16=False,
            max_length=None,
            gradient_accumulation_steps=2,
            report_to=[],
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Dataset.from_list([{"input_ids": [3, 4, 5], "labels": [MASKED, 4, 5]}]),
        processing_class=tiny_tokenizer(),
    )
    trainer.current_gradient_accumulation_steps = 2
    trainer.model.train()
    return trainer


@pytest.mark.parametrize("items", [None, 23])
def test_a_pass_of_an_update_weighs_what_it_does_in_the_library(
    tmp_path: Path, items: int | None
) -> None:
    found = []
    for kind in (SFTTrainer, AnswerTrainer):
        trainer = make(kind, MIXTURES["mixtral"], tmp_path / kind.__name__)
        ids_BT = torch.arange(3, 27).reshape(2, 12)
        batch = {"input_ids": ids_BT, "labels": ids_BT.clone(), "attention_mask": ids_BT > 0}
        batch["labels"][:, :5] = MASKED
        count = None if items is None else torch.tensor(items)
        loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=count)
        loss.backward()
        gradient = trainer.model.model.embed_tokens.weight.grad
        found.append((loss.detach(), gradient, trainer._metrics["train"]["num_tokens"]))
    theirs, ours = found
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-3, atol=1e-6)
    assert ours[2] == theirs[2] == [24]
    assert not trainer.student.config.output_router_logits, "it would be saved with the model"


def test_a_sibling_without_experts_has_none_to_balance(tmp_path: Path) -> None:
    """Dense Granite 4: its class can have experts, this model has not."""
    dense = GraniteMoeHybridConfig(
        **_SHAPE | {"num_experts_per_tok": 0, "shared_intermediate_size": 32},
        num_local_experts=0,
        mamba_n_heads=4,
        layer_types=["attention", "attention"],
    )
    trainer = make(AnswerTrainer, dense, tmp_path)
    ids_BT = torch.arange(3, 27).reshape(2, 12)
    batch = {"input_ids": ids_BT, "labels": ids_BT.clone(), "attention_mask": ids_BT > 0}
    assert float(trainer.compute_loss(trainer.model, batch).detach()) > 0
    trainer.model.eval()
    assert trainer.model.generate(ids_BT, max_new_tokens=2).shape == (2, 14)


def test_a_model_whose_head_is_more_than_a_layer_is_refused() -> None:
    shape = {name: _SHAPE[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers")}
    odd = AutoModelForCausalLM.from_config(
        ModernBertDecoderConfig(
            **shape, num_attention_heads=2, intermediate_size=32, pad_token_id=0
        )
    )
    with pytest.raises(InvalidInput, match="a model of type modernbert-decoder, does more"):
        check_head("student", odd)
    for config in MIXTURES.values():
        check_head("teacher", AutoModelForCausalLM.from_config(config))
