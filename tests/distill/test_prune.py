"""Depth pruning: which layers stay, and that the rest still works."""

from pathlib import Path

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.prune import (
    block_influence,
    config_of_kept,
    keep_layers,
    layers_to_keep,
    prune,
    refuse_rewired,
)


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


def test_what_a_config_says_of_layers_by_their_place_follows() -> None:
    fields = {
        "num_hidden_layers": 4,
        "layer_types": ["full", "slide", "full", "slide"],
        "no_rope_layers": (1, 1, 1, 0),
        "eos_token_id": [5, 6, 7, 8],  # as many as layers, by chance
        "mlp_only_layers": [0, 3],
        "max_window_layers": 3,
        "first_k_dense_replace": 1,
        "rope_parameters": {"long_factor": [1.0, 2.0, 3.0, 4.0]},
        "sizes": [1, 2, 3],
    }
    assert config_of_kept(fields, [1, 3], 4) == {
        "num_hidden_layers": 2,
        "layer_types": ["slide", "slide"],
        "no_rope_layers": [1, 0],
        "mlp_only_layers": [1],
        "max_window_layers": 1,
        "first_k_dense_replace": 0,
    }


def test_another_wiring_is_told_from_rounding() -> None:
    import torch

    said = torch.linspace(-20, 20, 60).view(1, 3, 20)
    refuse_rewired(said, said.bfloat16(), "llama")
    with pytest.raises(InvalidInput, match="Models of type odd set their layers up"):
        refuse_rewired(said, said.roll(1, -1), "odd")
    with pytest.raises(InvalidInput):
        refuse_rewired(said, said * float("nan"), "odd")
