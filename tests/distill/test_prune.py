"""Depth pruning: which layers stay, and that the rest still works."""

from pathlib import Path

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.prune import block_influence, keep_layers, layers_to_keep, prune


def test_the_most_influential_layers_stay_in_order() -> None:
    assert layers_to_keep([0.5, 0.1, 0.4, 0.2], 2) == [0, 2]
    assert layers_to_keep([0.1, 0.1, 0.1], 2) == [0, 1]
    with pytest.raises(InvalidInput, match="3 layers; 4 cannot"):
        layers_to_keep([1.0, 1.0, 1.0], 4)


def load(folder: Path):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), torch


def test_a_layer_that_does_nothing_has_no_influence_and_goes_first(tiny_model: Path) -> None:
    model, torch = load(tiny_model)
    with torch.no_grad():
        for part in (model.model.layers[1].self_attn.o_proj, model.model.layers[1].mlp.down_proj):
            part.weight.zero_()
    batches = [torch.arange(3, 23)[None], torch.arange(30, 40)[None]]
    influence = block_influence(model, batches)
    assert influence[1] == pytest.approx(0.0, abs=1e-5)
    assert min(influence[0], influence[2]) > 0.01
    before = model(batches[0]).logits
    report = prune(model, batches, 2)
    assert report.kept == [0, 2]
    assert torch.allclose(model(batches[0]).logits, before, atol=1e-5)


def test_influence_is_the_mean_over_tokens(tiny_model: Path) -> None:
    model, torch = load(tiny_model)
    ids = torch.arange(3, 13)[None]
    with torch.no_grad():
        hidden = model(ids, output_hidden_states=True).hidden_states
    cosine = torch.nn.functional.cosine_similarity(hidden[0], hidden[1], dim=-1)
    assert block_influence(model, [ids])[0] == pytest.approx(float(1 - cosine.mean()), abs=1e-5)


def test_the_pruned_model_saves_loads_and_uses_its_cache(tiny_model: Path, tmp_path: Path) -> None:
    model, torch = load(tiny_model)
    keep_layers(model, [0, 2])
    assert model.config.num_hidden_layers == 2
    model.save_pretrained(tmp_path / "m")
    again, _ = load(tmp_path / "m")
    ids = torch.arange(3, 13)[None]
    assert torch.allclose(again(ids).logits, model(ids).logits, atol=1e-6)
    cached = again.generate(ids, max_new_tokens=6, do_sample=False)
    plain = again.generate(ids, max_new_tokens=6, do_sample=False, use_cache=False)
    assert cached.tolist() == plain.tolist()
