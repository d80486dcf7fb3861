"""Real vectors for the benchmark of near-duplicates: texts out of files, and edits of them.

Texts are the strings of 20 characters and more in JSON and JSONL files, each once, in the order of
their hash (so that a smaller number is a sample of all files). A fifth of the rows are edits of
another text, in the ways people and models repeat themselves. Texts longer than the model reads at
once are cut.
"""

import hashlib
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill_studio.bootstrap import build_studio
from distill_studio.core.protocols import FloatMatrix
from distill_studio.core.settings import Settings

EDITED = 0.2
_SHORTEST = 20  # characters


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def texts_in(path: Path) -> Iterator[str]:
    """Every string in a JSON or JSONL file that is long enough."""
    content = path.read_text(encoding="utf-8")
    rows = map(json.loads, content.splitlines()) if path.suffix == ".jsonl" else [content]
    for row in rows:
        found = json.loads(row) if path.suffix != ".jsonl" else row
        yield from (text for text in strings(found) if len(text) >= _SHORTEST)


def edited(text: str, rng: random.Random) -> str:
    """The text with a small change."""
    words = text.split()
    dropped = set(rng.sample(range(len(words)), min(len(words) - 1, rng.choice([1, 3]))))
    at = rng.randrange(len(text))
    ways = [
        text.lower(),
        f"Sure! {text}",
        " ".join(word for k, word in enumerate(words) if k not in dropped),
        text[:at] + rng.choice("aeiou") + text[at + 1 :],
        text[: max(1, len(text) * 3 // 4)],
    ]
    return rng.choice(ways)


def with_edits(paths: Sequence[Path], count: int) -> list[str]:
    """`count` texts at most, edits among them."""
    found = {text for path in paths for text in texts_in(path)}
    ordered = sorted(found, key=lambda text: hashlib.sha256(text.encode()).digest())
    rng = random.Random(1)
    originals = ordered[: round(count * (1 - EDITED))]
    copies = [edited(rng.choice(originals), rng) for _ in range(count - len(originals))]
    texts = [*originals, *copies[: len(originals)]]
    rng.shuffle(texts)
    return texts


def embedded(paths: Sequence[Path], count: int) -> FloatMatrix:
    """(N, D) vectors of the texts by the app's own model."""
    with tempfile.TemporaryDirectory() as home:
        studio = build_studio(Settings(home=Path(home), device="cpu"))
        try:
            embedder = studio.models.embedder()
            texts = with_edits(paths, count)
            parts = [embedder.embed(texts[k : k + 256]) for k in range(0, len(texts), 256)]
            return np.concatenate(parts)
        finally:
            studio.close()
