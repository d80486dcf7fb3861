"""Text to unit vectors by a static model: the mean of its tokens' vectors. Some twenty times as
fast as a sentence model, and blind to the order of words. Start at `StaticEmbedder`.
"""

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from distill_studio.core.errors import Unavailable
from distill_studio.core.protocols import FloatMatrix
from distill_studio.teachers.static_distillation import FACTS_FILE
from distill_studio.teachers.windows import WindowCutter

_BATCH_TEXTS = 1024
_MAX_TOKENS = 256  # of a window, for a model that comes from elsewhere
_MODULE = "StaticEmbedding"
_HARMLESS = "Normalize"


class StaticEmbedder:
    """Implements `Embedder`. Loading takes less than a second; it is thread-safe.

    Long texts have the same windows as with the model it was distilled from, so that two of them
    are near only when they agree from beginning to end.

    Args:
        folder: A sentence-transformers model made of a `StaticEmbedding`.
        model: Its id, stored beside the vectors.

    Raises:
        Unavailable: The folder holds something else, or cannot be read.
    """

    def __init__(self, folder: Path, model: str) -> None:
        import torch
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding

        part = _static_part(folder)
        if part is None:
            raise Unavailable(
                f"{model} is more than a table of vectors.",
                "A static model has a StaticEmbedding and at most a Normalize.",
            )
        try:
            loaded = StaticEmbedding.load(str(part), local_files_only=True)
        except (OSError, ValueError, KeyError) as err:
            raise Unavailable(f"The static model {model} cannot be read: {err}") from err
        self.model = model
        self.folder = folder
        self._vectors = loaded.embedding.weight.detach().to(torch.float32)
        self.dim = int(self._vectors.shape[1])
        self._tokenizer = loaded.tokenizer
        self._tokenizer.no_truncation()
        self._cutter = WindowCutter(self._tokenizer, _window_size(folder))

    def windows(self, text: str) -> list[str]:
        """See `WindowCutter.windows`."""
        return self._cutter.windows(text)

    def embed(self, texts: Sequence[str]) -> FloatMatrix:
        """(N, dim) float32, rows of length one; texts of any length are read whole.

        Texts without a token all have the same vector.
        """
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), _BATCH_TEXTS):
            batch = list(texts[start : start + _BATCH_TEXTS])
            vectors[start : start + len(batch)] = self._means(batch)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[lengths[:, 0] == 0, 0] = 1.0
        lengths[lengths == 0] = 1.0
        return np.asarray(vectors / lengths, dtype=np.float32)

    def _means(self, texts: list[str]) -> FloatMatrix:
        import torch

        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = [one.ids for one in encoded]
        counts = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.fromiter(chain.from_iterable(ids), np.int64, int(counts.sum()))
        with torch.inference_mode():
            means: FloatMatrix = torch.nn.functional.embedding_bag(
                torch.from_numpy(flat),
                self._vectors,
                torch.from_numpy(np.cumsum(counts) - counts),
                mode="mean",
            ).numpy()
        return means


def is_static_folder(folder: Path) -> bool:
    """Whether `StaticEmbedder` can read this model."""
    return _static_part(folder) is not None


def _static_part(folder: Path) -> Path | None:
    """Where the table lies in a model's folder; None where the model has other parts."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        found = [(str(one["type"]).rsplit(".", 1)[-1], str(one["path"])) for one in modules]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not found or found[0][0] != _MODULE or any(kind != _HARMLESS for kind, _ in found[1:]):
        return None
    part = (folder / found[0][1]).resolve()
    return part if part.is_relative_to(folder.resolve()) else None


def _window_size(folder: Path) -> int:
    """Tokens of a window, special ones included: those of the model it was distilled from."""
    try:
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _MAX_TOKENS
    return int(facts["max_tokens"])
