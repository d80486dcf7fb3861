"""Chat templates of well-known families, for teachers whose tokenizer is not at hand.

Start from `guessed` (by the model's name) and `known_turn` (by the template's).
"""

import re
from collections.abc import Mapping

from distill_studio.core.records import UserTurn
from distill_studio.generate.prompts import fill

AUTO = "auto"  # as an option: the tokenizer's own template, else by the model's name
# What ends a user's turn; at most four, as OpenAI's API takes.
STOPS = {
    "chatml": ("<|im_end|>", "<|im_start|>", "<|endoftext|>"),
    "llama3": ("<|eot_id|>", "<|start_header_id|>", "<|end_of_text|>"),
    "gemma": ("<end_of_turn>", "<start_of_turn>", "<eos>"),
    "mistral": ("[/INST]", "[INST]", "</s>"),
    "phi3": ("<|end|>", "<|assistant|>", "<|user|>", "<|endoftext|>"),
}
# The families' model cards; the first that occurs in a model's name. Phi-4, Gemma 4, Llama 4 and
# DeepSeek have templates of their own that are not here.
_FAMILIES = (
    ("", re.compile(r"deepseek|phi-?4|gemma-?4|llama-?4|gpt-?oss", re.IGNORECASE)),
    ("chatml", re.compile(r"hermes|chatml", re.IGNORECASE)),
    ("llama3", re.compile(r"llama-?3", re.IGNORECASE)),
    ("gemma", re.compile(r"gemma", re.IGNORECASE)),
    ("phi3", re.compile(r"phi-?3", re.IGNORECASE)),
    ("chatml", re.compile(r"qwen|qwq|smollm|\byi-|internlm2", re.IGNORECASE)),
    ("mistral", re.compile(r"mistral|mixtral", re.IGNORECASE)),
)


def guessed(model: str) -> str:
    """The template that a model's name speaks for; '' where it speaks for none."""
    return next((name for name, pattern in _FAMILIES if pattern.search(model)), "")


def known_turn(name: str, texts: Mapping[str, str]) -> UserTurn:
    """A family's template, by the recipe's texts `<name>`, `<name>_system`, `<name>_default`.

    ChatML models were aligned with a system turn in every conversation, so there is one in any
    case: `chatml_default`.
    """
    system = texts[f"{name}_system"]
    always = texts.get(f"{name}_default", "")
    return UserTurn(
        name=name,
        bare=fill(texts[name], system=fill(system, content=always) if always else ""),
        with_system=fill(texts[name], system=system),
        stop=STOPS[name],
    )
