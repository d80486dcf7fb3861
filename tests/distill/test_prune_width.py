"""Width pruning: importance by an obvious loop, what is dead can go, the rest still works."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.distill.config import RunConfig, StudentConfig
from distill_studio.distill.estimate import model_facts
from distill_studio.distill.events import SilentWriter
from distill_studio.distill.preflight import check
from distill_studio.distill.prune import decoder_layers
from distill_studio.distill.prune_width import (
    WidthImportance,
    most_important,
    narrow,
    width_importance,
)
from distill_studio.distill.student import count_weights, load_model, student_folder
from tests.tiny_architectures import ARCHITECTURES, build

MakeConfig = Callable[..., RunConfig]
NARROWED = ("llama", "qwen3", "gemma2", "gemma3", "smollm3")
CHANNELS = ("llama", "qwen3", "smollm3")
OTHERS = {  # beside those of `tiny_architectures`
    name: (kind, ARCHITECTURES["llama"][1])
    for name, kind in {"qwen2": "Qwen2Config", "mistral": "MistralConfig"}.items()
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(ARCHITECTURES, name, (ARCHITECTURES | OTHERS)[name])
                made[name] = build(tmp_path_factory.mktemp("architectures") / name, name)
        return made[name]

    return of


def load(folder: Path) -> tuple[Any, Any]:
    import torch

    return load_model(folder, torch.float64, "cpu").eval(), torch


def said(model: Any, ids: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


def rows(torch: Any) -> list[Any]:
    return [torch.arange(3, 23)[None], torch.stack([torch.arange(30, 40), torch.arange(50, 60)])]


def pruned(folder: Path, model: Any, scores: WidthImportance, **kept: Any) -> None:
    student = StudentConfig(base_folder=str(folder), base_id="tiny", **kept)
    narrow(model, scores, model_facts(folder).shape, model_facts(folder, student).shape)


def test_importance_is_the_obvious_loop(tiny_model: Path) -> None:
    """Row by row, position by position, from the states that transformers itself gives out."""
    model, torch = load(tiny_model)
    batches = rows(torch)
    found = width_importance(model, batches, model_facts(tiny_model).shape)
    neurons = [[0.0] * 64 for _ in range(3)]
    groups = [[[0.0, 0.0] for _ in range(2)] for _ in range(3)]
    channels = [[0.0] * 32 for _ in range(6)]
    for ids in (row[None] for batch in batches for row in batch):
        with torch.no_grad():
            hidden = model(ids, output_hidden_states=True).hidden_states
            for n, layer in enumerate(model.model.layers):
                normed = layer.input_layernorm(hidden[n])[0]
                places = model.model.rotary_emb(hidden[n], torch.arange(ids.shape[1])[None])
                heads = attended(layer.self_attn, normed, places, torch)
                middle = hidden[n] + layer.self_attn.o_proj(heads.flatten(-2))[None]
                second = layer.post_attention_layernorm(middle)[0]
                mlp = layer.mlp
                active = mlp.act_fn(mlp.gate_proj(second)) * mlp.up_proj(second)
                count = len(active)
                for i in range(64):
                    neurons[n][i] += (sum(abs(float(x)) for x in active[:, i]) / count) ** 2
                for g in range(2):
                    for h in range(2):
                        vectors = heads[:, 2 * g + h].tolist()
                        mean = sum(sum(x * x for x in v) ** 0.5 for v in vectors) / count
                        groups[n][g][h] += mean**2
                for place, states in ((2 * n, normed), (2 * n + 1, second)):
                    for i in range(32):
                        mean = sum(abs(float(x)) for x in states[:, i]) / count
                        channels[place][i] += mean**2
    for n in range(3):
        assert found.neurons[n].tolist() == pytest.approx([x**0.5 for x in neurons[n]], rel=1e-6)
        wanted = [sum(x**0.5 for x in group) for group in groups[n]]
        assert found.groups[n].tolist() == pytest.approx(wanted, rel=1e-6)
    wanted = [sum(one[i] ** 0.5 for one in channels) for i in range(32)]
    assert found.channels.tolist() == pytest.approx(wanted, rel=1e-6)


def attended(attention: Any, states: Any, places: Any, torch: Any) -> Any:
    """What each of four heads says, (T, heads, head_dim); two share a key/value head."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    count = len(states)
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    q, k, v = (part(states).view(1, count, -1, 8).transpose(1, 2) for part in parts)
    q, k = apply_rotary_pos_emb(q, k, *places)
    found = []
    for head in range(4):
        weights = q[0, head] @ k[0, head // 2].T / 8**0.5
        weights = weights.masked_fill(torch.ones(count, count).triu(1).bool(), -1e9).softmax(-1)
        found.append(weights @ v[0, head // 2])
    return torch.stack(found, 1)


def test_the_highest_stay_in_order_and_the_earlier_wins_a_tie() -> None:
    import torch

    assert most_important(torch.tensor([0.5, 0.1, 0.4, 0.4]), 2) == [0, 2]


@pytest.mark.parametrize("name", [*NARROWED, *OTHERS])
def test_nothing_pruned_says_the_same(folder_of: Callable[[str], Path], name: str) -> None:
    folder = folder_of(name)
    model, torch = load(folder)
    ids = rows(torch)[0]
    before = said(model, ids)
    scores = width_importance(model, [ids], model_facts(folder).shape)
    pruned(folder, model, scores, keep_mlp=1.0, keep_groups=2, keep_hidden=1.0)
    assert torch.equal(said(model, ids), before)


@pytest.mark.parametrize("name", [*NARROWED, *OTHERS])
def test_what_is_dead_goes_first_and_is_not_missed(
    folder_of: Callable[[str], Path], name: str
) -> None:
    folder = folder_of(name)
    model, torch = load(folder)
    batches = rows(torch)
    with torch.no_grad():
        for number, layer in enumerate(decoder_layers(model)):
            group = number % 2  # another one in each layer
            layer.mlp.up_proj.weight[[3, 17, *range(40, 54)]] = 0
            layer.self_attn.v_proj.weight[8 * group : 8 * group + 8] = 0
    before = said(model, batches[0])
    scores = width_importance(model, batches, model_facts(folder).shape)
    pruned(folder, model, scores, keep_mlp=0.75, keep_groups=1)
    first = decoder_layers(model)[0]
    assert first.mlp.down_proj.weight.shape == (32, 48)
    assert first.self_attn.q_proj.weight.shape == (16, 32)
    assert torch.allclose(said(model, batches[0]), before, atol=1e-9)


@pytest.mark.parametrize("name", [*CHANNELS, *OTHERS])
def test_channels_that_are_always_zero_are_not_missed(
    folder_of: Callable[[str], Path], name: str
) -> None:
    """But for the norms' epsilon, which is added to a mean over fewer channels."""
    folder = folder_of(name)
    model, torch = load(folder)
    batches = rows(torch)
    dead = [1, 2, 5, 9, 20, 21, 30, 31]
    with torch.no_grad():
        model.get_input_embeddings().weight[:, dead] = 0
        for layer in decoder_layers(model):
            layer.mlp.down_proj.weight[dead] = 0
            layer.self_attn.o_proj.weight[dead] = 0
    before = said(model, batches[0])
    scores = width_importance(model, batches, model_facts(folder).shape)
    assert {i for i, score in enumerate(scores.channels.tolist()) if score == 0} == set(dead)
    pruned(folder, model, scores, keep_hidden=0.75)
    assert model.config.hidden_size == 24
    assert torch.allclose(said(model, batches[0]), before, rtol=1e-3, atol=1e-3)


def test_biases_of_heads_that_go_go_with_them(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of("qwen2")
    model, torch = load(folder)
    with torch.no_grad():
        for layer in decoder_layers(model):
            layer.self_attn.k_proj.bias.normal_()
            layer.self_attn.v_proj.weight[:8] = 0
            layer.self_attn.v_proj.bias[:8] = 0
    batches = rows(torch)
    before = said(model, batches[0])
    scores = width_importance(model, batches, model_facts(folder).shape)
    pruned(folder, model, scores, keep_groups=1)
    assert torch.allclose(said(model, batches[0]), before, atol=1e-9)
    model.save_pretrained(tmp_path / "again")
    again, _ = load(tmp_path / "again")
    assert torch.allclose(said(again, batches[0]), before, atol=1e-9)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_narrower_student_is_a_plain_model_or_is_refused_before(
    folder_of: Callable[[str], Path], make_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    import torch

    folder = folder_of(name)
    kept = {"keep_mlp": 0.5, "keep_groups": 1} | ({"keep_hidden": 0.5} if name in CHANNELS else {})
    depth = {"keep_layers": 2} if name in NARROWED else {}
    student = StudentConfig(base_folder=str(folder), base_id="tiny", **kept, **depth)
    config = make_config(student=student, max_length=32)
    errors = [f.code for f in check(config).findings if f.level == "error"]
    if name not in NARROWED:
        assert errors == ["cannot_narrow"]
        return
    assert errors == []
    made = student_folder(config, tmp_path, "cpu", torch.float32, SilentWriter())
    model = load_model(made, torch.float32, "cpu")
    fields = model.config
    assert (fields.num_hidden_layers, fields.intermediate_size) == (2, 32)
    assert (fields.num_attention_heads, fields.num_key_value_heads, fields.head_dim) == (2, 1, 8)
    assert fields.hidden_size == (16 if name in CHANNELS else 32)
    facts = model_facts(folder, student)
    assert facts.shape == model_facts(made).shape
    assert count_weights(model)[0] == pytest.approx(facts.parameters, rel=0.01)  # small norms
    ids = torch.arange(3, 13)[None]
    cached = model.generate(ids, max_new_tokens=6, do_sample=False)
    plain = model.generate(ids, max_new_tokens=6, do_sample=False, use_cache=False)
    assert cached.tolist() == plain.tolist()
    assert (made / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
