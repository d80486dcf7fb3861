"""A student as GGUF: transformers' own reader finds the same model, llama.cpp's rules the same ids.

Greedy answers of real llama.cpp were compared by hand, see docs/distillation.md.
"""

import json
import shutil
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill_studio.core.errors import Cancelled, InvalidInput
from distill_studio.core.records import Run
from distill_studio.distill.card import ModelFacts
from distill_studio.distill.llama_cpp.about import About, about_student
from distill_studio.distill.llama_cpp.number_formats import NUMBER_FORMATS
from distill_studio.distill.llama_cpp.plan import read_plan
from distill_studio.distill.llama_cpp.rope import llama3_factors, read_rope
from distill_studio.distill.llama_cpp.vocabulary import read_vocabulary
from distill_studio.distill.llama_cpp.writer import write_gguf
from distill_studio.teachers.models import resolve_model
from tests.tiny_architectures import build
from tests.tiny_model import TEMPLATE, tiny_tokenizer

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
WORDS = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|%s|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The patterns of llama.cpp (src/llama-vocab.cpp), each applied to what the former left.
LLAMA_CPP = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "qwen2": [WORDS % r"\p{N}"],
    "llama-bpe": [WORDS % r"\p{N}{1,3}"],
}
TEXTS = [
    "Hello, world! I'm sure THEY'RE not 'S.",
    "  two  spaces\tand tabs \n\n newline  \n  \n",
    "12345 6 789 3.14159 2026-12-01 ²³½ ٣٤ 一二三",
    "naïve café ﬁ 日本語 你好，世界 हिन्दी ไทย 👩‍👩‍👧‍👦",
    "x=1;\r\n\ty+=2 // ok\r\n",
    "<|im_start|>user\nHi<|im_end|>\n <think>so</think>",
    "",
]


def tokenizer_of(rule: str) -> Any:
    """Its merges cross every border of words, so that only the rule keeps them apart."""
    from tokenizers import AddedToken, Regex, pre_tokenizers, processors, trainers

    fast = tiny_tokenizer()
    inner = fast.backend_tokenizer
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.pre_tokenizer = cut
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([text[at:] for text in TEXTS for at in range(8)], trainer)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    pattern = WORDS.replace("(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
                            "(?i:'s|'t|'re|'ve|'m|'ll|'d)")  # fmt: skip
    inner.pre_tokenizer = {
        "gpt-2": words,
        "smollm": pre_tokenizers.Sequence([digits, words]),
        "qwen2": pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(pattern % r"\p{N}"), "isolated"), cut
        ]),
        "llama-bpe": pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(pattern % r"\p{N}{1,3}"), "isolated"), cut
        ]),
    }[rule]  # fmt: skip
    if rule == "llama-bpe":
        inner.model.ignore_merges = True
        inner.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A",
            pair="<|endoftext|> $A $B",
            special_tokens=[("<|endoftext|>", 0)],
        )
        fast.bos_token = "<|endoftext|>"
    fast.add_tokens([
        AddedToken(t, special=False, normalized=False) for t in ("<think>", "</think>")
    ])
    return fast


def as_llama_cpp(found: Any) -> Any:
    """A tokenizer out of what the file says, with llama.cpp's patterns."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

    vocabulary = {text: number for number, text in enumerate(found.tokens)}
    merges = [tuple(pair.split(" ")) for pair in found.merges]
    made = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=found.rule == "llama-bpe"))
    cuts = [pre_tokenizers.Split(Regex(p), "isolated") for p in LLAMA_CPP[found.rule]]
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([*cuts, bytes_])
    own = [text for text, kind in zip(found.tokens, found.types, strict=True) if kind in (3, 4)]
    made.add_tokens([AddedToken(text, normalized=False) for text in own])
    return made


def student(
    folder: Path, kind: str, rule: str = "gpt-2", padding: int = 0, **fields: Any
) -> tuple[Path, Any]:
    """A random model of three layers, saved in bf16 with a tokenizer of the rule."""
    import torch
    import transformers

    tokenizer = tokenizer_of(rule)
    shape = {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "initializer_range": 0.15, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None,
    }  # fmt: skip
    config = getattr(transformers, kind)(vocab_size=len(tokenizer) + padding, **shape | fields)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for name, weight in model.named_parameters():
        if weight.dim() == 1:  # norms that are not all 1, biases that are not all 0
            torch.nn.init.normal_(weight, 1.0 if "norm" in name else 0.0, 0.3)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, tokenizer


def write(folder: Path, kind: Any, about: About | None = None, **more: Any) -> Path:
    target = folder / f"{kind}.gguf"
    write_gguf(read_plan(folder), kind, about or About("tiny"), target, **more)
    return target


def facts_of(file: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    return {name: field.contents() for name, field in GGUFReader(file).fields.items()}


def logits(folder: Path, file: Path | None) -> np.ndarray:
    """Of a row of tokens (T, V); of the folder's own weights without a file."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

    options: dict[str, Any] = {"dtype": torch.float32}
    if file is not None:
        unpacked = GgufConfig(dequantize=True)
        options |= {"gguf_file": file.name, "quantization_config": unpacked}
        options["config"] = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    with torch.no_grad():
        found: np.ndarray = model(torch.arange(3, 43)[None]).logits[0].numpy()
    return found


@pytest.mark.parametrize(
    ("kind", "rule", "padding", "fields"),
    [
        ("LlamaConfig", "smollm", 0, {"tie_word_embeddings": True}),
        ("LlamaConfig", "llama-bpe", 0, {"head_dim": 32, "attention_bias": True, "mlp_bias": True}),
        ("Qwen2Config", "qwen2", 13, {"tie_word_embeddings": True}),
        ("Qwen3Config", "qwen2", 5, {"head_dim": 32}),
    ],
)
def test_the_file_holds_the_same_model_and_tokenizer(
    kind: str, rule: str, padding: int, fields: dict[str, Any], tmp_path: Path
) -> None:
    folder, tokenizer = student(tmp_path, kind, rule, padding, **fields)
    theirs = logits(folder, None)
    np.testing.assert_allclose(logits(folder, write(folder, "bf16")), theirs, rtol=0, atol=1e-4)

    told = facts_of(folder / "bf16.gguf")
    name, rows = told["general.architecture"], len(tokenizer) + padding
    assert told[f"{name}.block_count"] == 3
    assert told[f"{name}.attention.key_length"] == fields.get("head_dim", 16)
    assert told[f"{name}.vocab_size"] == len(told["tokenizer.ggml.tokens"]) == rows
    assert told["tokenizer.ggml.pre"] == rule
    assert told["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id
    assert told["tokenizer.ggml.add_bos_token"] == (rule == "llama-bpe")
    assert told["tokenizer.chat_template"] == TEMPLATE

    found = read_vocabulary(folder, rows, "")
    assert found.types.count(5) == padding
    llama_cpp = as_llama_cpp(found)
    for text in TEXTS:
        wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert llama_cpp.encode(text, add_special_tokens=False).ids == wanted, text


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return student(tmp_path_factory.mktemp("tiny"), "LlamaConfig", tie_word_embeddings=True)[0]


def test_fewer_bits_stay_close_and_take_what_was_said(tiny: Path) -> None:
    from gguf import GGUFReader

    theirs = logits(tiny, None)
    for kind, limit in (("f16", 0.001), ("q8_0", 0.05), ("q4_1", 0.6)):
        ours = logits(tiny, write(tiny, kind))
        assert np.abs(ours - theirs).mean() < limit * theirs.std(), kind
    plan = read_plan(tiny)
    for kind in NUMBER_FORMATS:
        made = write(tiny, kind)
        assert abs(plan.size_bytes(kind) - made.stat().st_size) < 60_000  # of the vocabulary
    stored = {one.name: one.tensor_type.name for one in GGUFReader(tiny / "q4_0.gguf").tensors}
    assert stored["token_embd.weight"] == "Q8_0"
    assert stored["blk.2.ffn_down.weight"] == "Q4_0"
    assert stored["blk.0.attn_norm.weight"] == "F32"
    assert "output.weight" not in stored  # the embeddings are it


def test_the_file_says_what_it_is(tiny: Path) -> None:
    run = Run(name="my-run", method="on_policy", snapshot_id="s", config={})
    facts = ModelFacts(
        base_model="org/small", licence="other", licence_name="llama3.2", notices=("Built so.",)
    )
    told = facts_of(write(tiny, "bf16", about_student(run, facts)))
    assert told["general.name"] == "my-run"
    assert (told["general.license"], told["general.license.name"]) == ("other", "llama3.2")
    assert told["general.base_model.0.repo_url"] == "https://huggingface.co/org/small"
    assert "on-policy). Built so. The terms" in told["general.description"]


def test_a_stopped_file_is_not_there(tiny: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise Cancelled("Stopped on request.")

    target = tmp_path / "x.gguf"
    with pytest.raises(Cancelled):
        write_gguf(read_plan(tiny), "f16", About("x"), target, check=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "no number"), (1e6, "Take bf16")])
def test_weights_that_cannot_be_kept_are_named(
    tiny: Path, tmp_path: Path, value: float, said: str
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = torch.tensor(value)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InvalidInput, match=r"model\.layers\.1\.mlp\.up_proj\.weight") as told:
        write(folder, "f16")
    assert said in str(told.value)


def test_other_architectures_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"gemma2 .*convert_hf_to_gguf\.py"):
        read_plan(build(tmp_path, "gemma2"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "longrope"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "rotary"),
        ({"hidden_act": "gelu"}, "SiLU"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding"),
    ],
)
def test_settings_that_llama_cpp_does_not_know_are_refused(
    tiny: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    config = json.loads((tiny / "config.json").read_text()) | changed
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(tiny / "model.safetensors")
    with pytest.raises(InvalidInput, match=said):
        read_plan(tmp_path)


def test_heads_of_another_width_than_the_hidden_states_are_no_qwen2(tmp_path: Path) -> None:
    """Its graph in llama.cpp takes them to be as wide, whatever the file says."""
    folder, _ = student(tmp_path, "Qwen2Config", "qwen2", head_dim=32)
    with pytest.raises(InvalidInput, match=r"not as wide as its hidden states.*convert_hf_to_gguf"):
        read_plan(folder)


def test_rows_that_are_no_whole_blocks_stay_at_16_bits_and_are_counted(tmp_path: Path) -> None:
    fields = {"hidden_size": 72, "head_dim": 16}
    plan = read_plan(student(tmp_path, "LlamaConfig", **fields)[0])
    shares = {kind: plan.share_at_16_bits(kind) for kind in NUMBER_FORMATS}
    assert shares["f16"] == shares["bf16"] == 0.0
    kept = {one.name: prod(one.weight.shape) for one in plan.tensors}
    blocks = sum(
        n for name, n in kept.items() if name.endswith(("attn_output.weight", "down.weight"))
    )
    norms = sum(n for name, n in kept.items() if name.endswith("norm.weight"))
    assert shares["q4_0"] == pytest.approx(1 - (blocks + norms) / sum(kept.values()))


def test_another_rule_of_words_is_refused(tiny: Path, tmp_path: Path) -> None:
    told = json.loads((tiny / "tokenizer.json").read_text())
    told["pre_tokenizer"] = {"type": "Whitespace"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(InvalidInput, match="cuts text by a rule"):
        read_vocabulary(tmp_path, 10_000, "")


def test_llama3_frequencies_are_transformers_own() -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    told = {
        "rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    config = LlamaConfig(head_dim=64, max_position_embeddings=131072, rope_parameters=told)
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 5e5 ** -(np.arange(0, 64, 2) / 64)
    ours = plain / llama3_factors(read_rope({"rope_parameters": told}, ""), 64)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.models
def test_the_starter_as_a_file_is_the_starter(starter_cache: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path / "model"
    shutil.copytree(resolve_model("smollm2-135m-instruct", starter_cache), folder)
    theirs = logits(folder, None)
    np.testing.assert_allclose(logits(folder, write(folder, "bf16")), theirs, rtol=0, atol=1e-3)
    ours = logits(folder, write(folder, "q8_0"))
    assert (ours.argmax(-1) == theirs.argmax(-1)).mean() > 0.85
    made = (folder / "q8_0.gguf").stat().st_size
    assert abs(read_plan(folder).size_bytes("q8_0") / made - 1) < 0.02
    found, tokenizer = read_vocabulary(folder, 49152, ""), AutoTokenizer.from_pretrained(folder)
    assert found.rule == "smollm"
    for text in TEXTS:
        wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert as_llama_cpp(found).encode(text, add_special_tokens=False).ids == wanted, text
