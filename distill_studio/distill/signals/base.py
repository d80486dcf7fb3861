"""What identifies a stored teacher signal, and how it lies on disk. Torch-free.

A cache is a folder: `key.json` (a `SignalKey`), and `part-00000.parquet` ... with 64 rows each, in
the order of the encoded rows, so row n of the data is row n of the cache whatever the shuffling.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from distill_studio.core.errors import StudioError
from distill_studio.core.records.base import Record
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import TeacherConfig
from distill_studio.distill.data import Encoded

KEY_FILE = "key.json"
PART_ROWS = 64
GROUP_ROWS = 8  # rows that are decoded together
_SAMPLED_BYTES = 2**20
_WORDS = {
    "teacher": "another teacher, or another revision of it",
    "source": "another way of asking (in this process, or by a vLLM server)",
    "tokenizer": "another tokenizer",
    "template": "another chat template",
    "tokens": "other rows, or rows cut at another length",
    "kind": "another kind of record (top-k or draws)",
    "k": "another number of kept ids",
    "temperatures": "other temperatures",
    "dtype": "another number format",
    "width": "another width of the vocabulary",
}


class CacheMismatch(StudioError, ValueError):
    """A stored signal does not belong to this training."""

    code = "cache_mismatch"


class SignalKey(Record):
    """All that decides what a teacher says of given rows."""

    teacher: str = Field(description="Fingerprint of its folder, or of its address.")
    tokenizer: str = Field(description="Hash of tokenizer.json.")
    template: str = Field(description="Hash of the chat template.")
    tokens: str = Field(description="Hash of all ids and labels, in order.")
    kind: Literal["top_k", "draws"] = Field(default="top_k", description="What is kept.")
    k: int = Field(default=64, ge=1, description="Ids kept, or draws made, per token.")
    temperatures: tuple[float, ...] = Field(
        default=(1.0,), min_length=1, description="At which it can be used; draws have one."
    )
    dtype: Literal["fp16", "fp32"] = Field(default="fp16", description="Of log-probabilities.")
    width: int = Field(ge=1, description="Ids that both models have.")
    source: Literal["forward", "vllm"] = Field(
        default="forward", description="Asked in this process, or a server: other kernels."
    )

    @property
    def hash(self) -> str:
        """A short name for the folder; stores from before there were servers keep theirs."""
        unsaid = {"source"} if self.source == "forward" else None
        return hashlib.sha256(self.model_dump_json(exclude=unsaid).encode()).hexdigest()[:16]

    def refuse_unlike(self, stored: "SignalKey") -> None:
        """Raise when a stored key is not this one.

        Raises:
            CacheMismatch: Says in which way.
        """
        mine, theirs = self.model_dump(), stored.model_dump()
        unlike = [_WORDS[name] for name in mine if mine[name] != theirs[name]]
        if unlike:
            raise CacheMismatch(
                f"The stored teacher signal was made with {', and '.join(unlike)}.",
                "Capture it anew: delete its folder, or choose the teacher it was made with.",
            )


def part_path(folder: Path, part: int) -> Path:
    """Where a part of 64 rows lies."""
    return folder / f"part-{part:05d}.parquet"


def count_parts(rows: int) -> int:
    """Parts of so many rows."""
    return -(-rows // PART_ROWS)


def fingerprint(folder: Path) -> str:
    """Hash of a model's config and weights: whole small files, both ends and size of large ones."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("config.json"), *folder.glob("*.safetensors")]):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SAMPLED_BYTES))
            file.seek(max(0, size - _SAMPLED_BYTES))
            digest.update(file.read())
    return digest.hexdigest()[:32]


def teacher_fingerprint(teacher: TeacherConfig) -> str:
    """Of its files; where only a server has them, of its address and its name there.

    A server that begins to serve other weights under the same name is found out by asking again.
    """
    if teacher.folder or teacher.server is None:
        return fingerprint(Path(teacher.folder))
    address = f"{teacher.server.base_url}\n{teacher.server.model}"
    return hashlib.sha256(address.encode()).hexdigest()[:32]


def ensemble_fingerprint(prints: Sequence[str], weights: Sequence[float]) -> str:
    """That of one teacher, or a hash of several with their weights."""
    if len(prints) == 1:
        return prints[0]
    parts = [f"{one} {weight:.12g}" for one, weight in zip(prints, weights, strict=True)]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:32]


def tokenizer_hash(folder: Path) -> str:
    """Hash of what turns text into ids: vocabulary, merges and added tokens.

    Normalised JSON, so that saving a tokenizer again does not change it; padding and truncation,
    which callers set, do not count.
    """
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    for name in ("padding", "truncation"):
        content.pop(name, None)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def template_hash(chat: ChatTokenizer) -> str:
    """Hash of a chat template."""
    return hashlib.sha256(chat.template.encode()).hexdigest()[:32]


def tokens_hash(rows: Iterable[Encoded]) -> str:
    """Hash of ids and labels of all rows, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.input_ids, row.labels]).encode())
    return digest.hexdigest()[:32]
