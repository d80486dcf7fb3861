"""A random Llama of three layers with a ChatML tokenizer, and small snapshots to train it on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = ["red", "green", "blue", "seven", "eight", "nine", "cat", "dog", "bird", "sun", "moon"]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe brief<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def tiny_tokenizer() -> Any:
    """A ChatML tokenizer of some hundred tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS), "system user assistant Be brief"], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = TEMPLATE
    return fast


OTHER_TEMPLATE = (
    "<s>{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] | trim + '</s>' }}{% else %}"
    "{{ '[' + message['role'] + '] ' + message['content'] + ' [answer]' }}{% endif %}{% endfor %}"
)


def other_tokenizer() -> Any:
    """SentencePiece's kind: blanks as marks, bytes for what it does not know, another template."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Prepend("\u2581"),
        normalizers.Replace(" ", "\u2581"),
    ])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
    ])
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz[]"),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["\u2581".join(WORDS[::2]), "user answer undo gloom"], trainer)
    # Bytes are ordinary tokens of such a vocabulary: only the trainer wants them told.
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][:3]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        eos_token="</s>",
        bos_token="<s>",
        pad_token="<unk>",
    )
    fast.chat_template = OTHER_TEMPLATE
    return fast


def build_tiny_model(folder: Path, *, layers: int = 3, fast: Any = None) -> Path:
    """Write the model and its tokenizer; fast enough for unit tests."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    fast = fast or tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
        tie_word_embeddings=True,
        initializer_range=0.2,
        dtype="float32",
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def completions(count: int) -> list[dict[str, Any]]:
    """`prompt_completion` rows with a pattern that can be learned."""
    return [
        {
            "id": f"r{i}",
            "prompt": [user(f"say {WORDS[i % len(WORDS)]}")],
            "completion": [assistant(f"{WORDS[i % len(WORDS)]} sun moon")],
        }
        for i in range(count)
    ]


def preferences(count: int) -> list[dict[str, Any]]:
    """`preference` rows whose chosen side always says the same."""
    return [
        {
            "id": f"p{i}",
            "prompt": [user(f"say {WORDS[i % len(WORDS)]}")],
            "chosen": [assistant("sun sun sun")],
            "rejected": [assistant("moon dog moon")],
        }
        for i in range(count)
    ]


def write_snapshot(
    folder: Path, train: list[dict[str, Any]], validation: list[dict[str, Any]]
) -> Path:
    """A snapshot folder as training reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.Table.from_pylist(train).schema if train else None
    for split, rows in (("train", train), ("validation", validation)):
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, folder / f"{split}.parquet")
    (folder / "manifest.json").write_text(json.dumps({"name": folder.name}), encoding="utf-8")
    return folder
