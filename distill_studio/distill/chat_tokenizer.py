"""A model folder's tokenizer and chat template without torch: `ChatTokenizer.load(folder)`.

Pre-flight and token view run in the web process, which must not import torch; the worker uses
the same class, so both see the same tokens. A test compares it with transformers'
`apply_chat_template`.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from distill_studio.core.errors import InvalidInput, NotFound

ChatMessage = dict[str, str]
_BYTE = re.compile("<0x([0-9A-F]{2})>")
# The characters by which byte-level vocabularies write bytes (GPT-2, encoder.py): printable ones
# stand for themselves, the others for those from 256 on, in order.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_REST = [byte for byte in range(256) if byte not in _PRINTABLE]
_BYTE_LEVEL = {chr(b): b for b in _PRINTABLE} | {chr(256 + n): b for n, b in enumerate(_REST)}


class _Generation(Extension):
    """`{% generation %}` marks answers in some templates; here it renders its body."""

    tags = {"generation"}  # noqa: RUF012  (jinja2's own form)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Parse up to `{% endgeneration %}` and keep the body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTokenizer:
    """Text to token ids, conversations to text."""

    def __init__(self, tokenizer: Tokenizer, template: str, special: dict[str, str]) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        # It would add special tokens, which are never asked for, and move places past blanks.
        self._around = tokenizer.post_processor
        self._tokenizer.post_processor = None
        self.special = special
        self.template = template
        self._render = _environment().from_string(template) if template else None
        eos = special.get("eos_token", "")
        self.eos_id: int | None = tokenizer.token_to_id(eos) if eos else None
        pad = special.get("pad_token", "")
        pad_id = tokenizer.token_to_id(pad) if pad else None
        self.pad_id: int = next((i for i in (pad_id, self.eos_id) if i is not None), 0)

    @classmethod
    def load(cls, folder: Path) -> "ChatTokenizer":
        """Read `tokenizer.json`, `tokenizer_config.json` and the chat template of a model.

        Raises:
            NotFound: The folder holds no `tokenizer.json`.
        """
        file = folder / "tokenizer.json"
        if not file.exists():
            raise NotFound(
                f"The model in {folder} has no tokenizer.json.",
                "Save its tokenizer with transformers' save_pretrained (a fast tokenizer).",
            )
        config: dict[str, Any] = {}
        if (config_file := folder / "tokenizer_config.json").exists():
            config = json.loads(config_file.read_text(encoding="utf-8"))
        special = {k: _content(v) for k, v in config.items() if k.endswith("_token") and v}
        return cls(Tokenizer.from_file(str(file)), _template(folder, config), special)

    def vocabulary(self) -> dict[str, int]:
        """Every token and its id, added tokens included."""
        return dict(self._tokenizer.get_vocab(with_added_tokens=True))

    @property
    def has_template(self) -> bool:
        """True when conversations can be rendered."""
        return self._render is not None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, no special tokens added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def added_around(self) -> tuple[list[int], list[int]]:
        """Ids that the tokenizer puts before and behind every text where it is left to itself."""
        encoding = self._tokenizer.encode("a", add_special_tokens=False)
        plain = list(encoding.ids)
        whole = list(self._around.process(encoding).ids) if self._around else plain
        at = next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
        return whole[:at], whole[at + len(plain) :]

    def encode_with_places(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids, and first character and last + 1 of each token; of one character that several
        tokens share, all have its place."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return list(encoding.ids), list(encoding.offsets)

    def writings(self) -> dict[tuple[str, bytes], int]:
        """What a token writes -> its id: ("text", bytes), or ("special", its name).

        Of two that write the same the first one, bytes that stand in for unknown characters last.
        Known are byte-level alphabets and SentencePiece's blanks and bytes; a token of another kind
        of vocabulary is taken to write its name.
        """
        added = self._tokenizer.get_added_tokens_decoder()
        kind = repr(self._tokenizer.decoder)
        found: dict[tuple[str, bytes], int] = {}
        stand_ins: dict[tuple[str, bytes], int] = {}
        for name, token in sorted(self.vocabulary().items(), key=lambda pair: pair[1]):
            if token in added:
                is_special = added[token].special
                found.setdefault(("special" if is_special else "text", name.encode()), token)
            elif "ByteFallback" in kind and (byte := _BYTE.fullmatch(name)):
                stand_ins[("text", bytes.fromhex(byte[1]))] = token
            else:
                found.setdefault(("text", _written(name, kind)), token)
        return stand_ins | found

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens shown."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each token by itself; a token that holds part of a character shows �."""
        return [self.decode([token]) for token in ids]

    def is_special(self, token: int) -> bool:
        """True for tokens that stand outside ordinary text."""
        added = self._tokenizer.get_added_tokens_decoder().get(token)
        return added is not None and added.special

    def render(self, messages: Sequence[ChatMessage], *, answer_next: bool = False) -> str:
        """The conversation as the model sees it; `answer_next` opens the assistant's turn.

        Raises:
            InvalidInput: No template, or the template refuses this conversation.
        """
        if self._render is None:
            raise InvalidInput(
                "This model has no chat template.", "Choose an instruct model as the student."
            )
        try:
            return self._render.render(
                messages=[dict(m) for m in messages],
                add_generation_prompt=answer_next,
                tools=None,
                documents=None,
                **self.special,
            )
        except jinja2.TemplateError as err:
            raise InvalidInput(
                f"The model's chat template refuses a conversation: {err}",
                "Check the order of its roles (system, user, assistant, ...).",
            ) from err


def _written(name: str, kind: str) -> bytes:
    """The bytes that a token of this name writes, by the kind of its vocabulary's decoder."""
    if "ByteLevel" in kind and all(character in _BYTE_LEVEL for character in name):
        return bytes(_BYTE_LEVEL[character] for character in name)
    is_marked = "Metaspace" in kind or "\u2581" in kind
    return (name.replace("\u2581", " ") if is_marked else name).encode()


def _content(value: str | dict[str, Any]) -> str:
    return str(value["content"]) if isinstance(value, dict) else str(value)


def _template(folder: Path, config: dict[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    found = config.get("chat_template") or ""
    if isinstance(found, list):  # several templates by name
        found = {entry["name"]: entry["template"] for entry in found}.get("default", "")
    return str(found)


def _environment() -> jinja2.Environment:
    """As transformers builds it (utils/chat_template_utils.py)."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raiser()
    environment.globals["strftime_now"] = lambda fmt: datetime.now(UTC).astimezone().strftime(fmt)
    return environment


def _raiser() -> Callable[[str], str]:
    def raise_exception(message: str) -> str:
        raise jinja2.TemplateError(message)

    return raise_exception


def _to_json(value: Any, indent: int | None = None) -> str:  # noqa: ANN401
    return json.dumps(value, ensure_ascii=False, indent=indent)
