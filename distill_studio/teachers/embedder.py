"""Text to unit vectors with sentence-transformers. Start at `SentenceEmbedder`."""

import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from distill_studio.core.protocols import FloatMatrix

_BATCH_SIZE = 32


class SentenceEmbedder:
    """Implements `Embedder`. Loading takes seconds; the model is shared and thread-safe.

    Args:
        folder: A sentence-transformers model.
        model: Its id, stored beside the vectors.
        device: cpu, cuda or mps.
    """

    def __init__(self, folder: Path, model: str, device: str = "cpu") -> None:
        from sentence_transformers import SentenceTransformer

        self.model = model
        self._encoder = SentenceTransformer(str(folder), device=device, local_files_only=True)
        self._tokenizer: Any = self._encoder.tokenizer
        self.dim = int(self._encoder.get_embedding_dimension() or 0)
        specials = int(self._tokenizer.num_special_tokens_to_add(pair=False))
        self.window_tokens = int(self._encoder.max_seq_length or 512) - specials
        self._guard = threading.Lock()

    def windows(self, text: str) -> list[str]:
        """Cut a text into pieces of `window_tokens` tokens, the last one shorter.

        The cuts fall between tokens, so that the pieces join to the text and window k of two
        equal texts is the same. A text that fits gives itself.
        """
        offsets = self._offsets(text)
        size = self.window_tokens
        if len(offsets) <= size:
            return [text]
        cuts = [0, *(offsets[k][0] for k in range(size, len(offsets), size)), len(text)]
        return [text[start:end] for start, end in pairwise(cuts)]

    def embed(self, texts: Sequence[str]) -> FloatMatrix:
        """(N, dim) float32, rows of length one; texts beyond a window are cut off."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        with self._guard:  # encode sorts by length itself
            vectors = self._encoder.encode(
                list(texts),
                batch_size=_BATCH_SIZE,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        encoded = self._tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            truncation=False,
            verbose=False,
        )
        offsets: list[tuple[int, int]] = encoded["offset_mapping"]
        return offsets
