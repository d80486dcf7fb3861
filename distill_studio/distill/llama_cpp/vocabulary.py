"""A student's tokenizer as GGUF says it: tokens, merges, how text is cut, special tokens."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer

_NORMAL, _CONTROL, _OWN, _UNUSED = 1, 3, 4, 5  # gguf.TokenType
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = (
    _CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_CUT = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
_DIGITS = {"type": "Digits", "individual_digits": True}


def _split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


# llama.cpp's name of a rule (`tokenizer.ggml.pre`; its patterns stand in src/llama-vocab.cpp) ->
# the same rule in a tokenizer.json, and whether a whole word that is a token is taken unmerged.
_RULES: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "gpt-2": ([_BYTES], False),
    "smollm": ([_DIGITS, _BYTES], False),
    "qwen2": ([_split(_WORDS % r"\p{N}"), _CUT], False),
    "llama-bpe": ([_split(_WORDS % r"\p{N}{1,3}"), _CUT], True),
}
_GENERATION = re.compile(
    r"\{%-?\s*(?:end)?generation\s*-?%\}"
)  # marks what is learned, in training
_SPECIAL = {"bos": "bos_token", "eos": "eos_token", "pad": "pad_token", "unk": "unk_token"}


@dataclass(frozen=True)
class Vocabulary:
    """What the file says of the tokenizer.

    Attributes:
        tokens: By id; as many as the embeddings have rows.
        types: `gguf.TokenType` of each.
        merges: Pairs, the first merged first.
        rule: llama.cpp's name of how text is cut before it is merged.
        special: bos, eos, eot, pad, unk -> id; those that there are.
        adds_bos: Whether a text gets the bos token in front.
        adds_eos: Whether it gets the eos token behind.
        template: Of conversations, Jinja; empty: none.
    """

    tokens: list[str]
    types: list[int]
    merges: list[str]
    rule: str
    special: dict[str, int]
    adds_bos: bool
    adds_eos: bool
    template: str


def read_vocabulary(folder: Path, rows: int, way_out: str) -> Vocabulary:
    """The tokenizer of a model's folder.

    Args:
        folder: Of the model.
        rows: Of its embeddings: ids above the last token are filled with unused ones.
        way_out: What to do where it cannot be said in GGUF.

    Raises:
        InvalidInput: It is of a kind that is not written here, or has more tokens than rows.
    """
    chat = ChatTokenizer.load(folder)
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    rule = _rule(told, way_out)
    tokens, types = _tokens(told, rows)
    special = _special(folder, chat)
    before, behind = chat.added_around()
    for where, added, word in (("before", before, "bos"), ("behind", behind, "eos")):
        if added and added != [special.get(word)]:
            raise InvalidInput(
                f"The student's tokenizer puts tokens {where} a text that GGUF cannot name.",
                way_out,
            )
    return Vocabulary(
        tokens=tokens,
        types=types,
        merges=[one if isinstance(one, str) else " ".join(one) for one in told["model"]["merges"]],
        rule=rule,
        special=special,
        adds_bos=bool(before),
        adds_eos=bool(behind),
        template=_GENERATION.sub("", chat.template),
    )


def _rule(told: dict[str, Any], way_out: str) -> str:
    """llama.cpp's name of how this tokenizer cuts text; found by what it does, not by its name."""
    model, cuts = told["model"], told.get("pre_tokenizer") or {}
    steps = cuts.get("pretokenizers", [cuts])
    found = [{k: v for k, v in step.items() if k != "trim_offsets"} for step in steps]
    normalizer = (told.get("normalizer") or {}).get("type", "NFC")  # llama.cpp normalises nothing
    is_plain = (
        model["type"] == "BPE"
        and normalizer == "NFC"
        and not model.get("byte_fallback")
        and not model.get("continuing_subword_prefix")
        and not model.get("end_of_word_suffix")
    )
    wanted = (found, bool(model.get("ignore_merges")))
    name = next((name for name, rule in _RULES.items() if rule == wanted), None)
    if name is None or not is_plain:
        raise InvalidInput(
            "The student's tokenizer cuts text by a rule that is not written as GGUF here: those of"
            f" {', '.join(_RULES)} are.",
            way_out,
        )
    return name


def _tokens(told: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{number}]" for number in range(rows)]
    types = [_UNUSED] * rows
    ordinary = ((number, text, _NORMAL) for text, number in told["model"]["vocab"].items())
    added = (
        (one["id"], one["content"], _CONTROL if one["special"] else _OWN)
        for one in told["added_tokens"]
    )
    for number, text, kind in [*ordinary, *added]:
        if number >= rows:
            raise InvalidInput(
                f"The student's tokenizer has a token {number}, its embeddings have {rows:,} rows.",
                "Take a student whose embeddings cover its tokenizer.",
            )
        tokens[number], types[number] = text, kind
    return tokens, types


def _special(folder: Path, chat: ChatTokenizer) -> dict[str, int]:
    """Ids of the special tokens: the tokenizer's word first, then the configurations'."""
    vocabulary = chat.vocabulary()
    config, generation = (
        _json(folder / f"{name}.json") for name in ("config", "generation_config")
    )
    found: dict[str, int] = {}
    for word, key in _SPECIAL.items():
        told = vocabulary.get(chat.special.get(key, ""))
        known = [told] if told is not None else _ids(config.get(f"{key}_id"))
        if known:
            found[word] = known[0]
    ends = [one for one in _ids(generation.get("eos_token_id")) if one != found.get("eos")]
    if ends and "eos" in found:
        found["eot"] = ends[0]  # the other token that ends an answer
    return found


def _ids(value: Any) -> list[int]:  # noqa: ANN401  (an id, a list of ids or None)
    return value if isinstance(value, list) else [] if value is None else [value]


def _json(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found
