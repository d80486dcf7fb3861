"""Text to unit vectors with sentence-transformers. Start at `SentenceEmbedder`."""

import copy
import logging
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_studio.core.protocols import FloatMatrix

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

_BATCH_SIZE = 32
_TURN = 256  # texts per turn: several callers share the model, none waits for all of another
_MAX_COSINE_ERROR = 1e-2
_SAMPLE = (
    "How do I bake bread?",
    "def add(a, b):\n    return a + b",
    "The stock market fell by three percent on Monday, and nobody could say why. " * 12,
    "Ünïcödé and 数学 in one line",
)


class SentenceEmbedder:
    """Implements `Embedder`. Loading takes seconds; the model is shared and thread-safe.

    Args:
        folder: A sentence-transformers model.
        model: Its id, stored beside the vectors.
        device: cpu, cuda or mps.
        dtype: float32, or bfloat16, which is used only where it changes the vectors of a few
            sample texts by less than 0.01 (1 - cosine).
    """

    def __init__(
        self, folder: Path, model: str, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        self.model = model
        self._folder, self._device = folder, device
        self._encoder = self._read()
        # A copy of its own: encode() switches truncation on and off in the shared one.
        self._cutter: Any = copy.deepcopy(self._encoder.tokenizer).backend_tokenizer
        self._cutter.no_truncation()
        self._cutter.no_padding()
        self.dim = int(self._encoder.get_embedding_dimension() or 0)
        specials = int(self._cutter.num_special_tokens_to_add(is_pair=False))
        self.window_tokens = int(self._encoder.max_seq_length or 512) - specials
        self._guard = threading.Lock()
        self.dtype = "float32"
        if dtype == "bfloat16":
            self._try_bfloat16()

    def windows(self, text: str) -> list[str]:
        """Cut a text into pieces of at most `window_tokens` tokens.

        The cuts fall between words (within one only where it fills a whole window), so that each
        piece reads as it did in the text; the pieces join to the text, and texts that begin alike
        have the same first windows. A text that fits gives itself.
        """
        encoded = self._cutter.encode(text, add_special_tokens=False)
        offsets, words = encoded.offsets, encoded.word_ids
        cuts = [0]
        start = 0
        while start + self.window_tokens < len(offsets):
            full = end = start + self.window_tokens
            while end > start and words[end] == words[end - 1]:
                end -= 1
            start = end if end > start else full
            cuts.append(offsets[start][0])
        return [text[a:b] for a, b in pairwise([*cuts, len(text)])]

    def embed(self, texts: Sequence[str]) -> FloatMatrix:
        """(N, dim) float32, rows of length one; texts beyond a window are cut off."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), _TURN):
            rows = order[start : start + _TURN]
            with self._guard:
                vectors[rows] = self._encode([texts[i] for i in rows])
        return vectors

    def _encode(self, texts: list[str]) -> FloatMatrix:
        raw = self._encoder.encode(
            texts, batch_size=_BATCH_SIZE, convert_to_numpy=True, show_progress_bar=False
        )
        vectors = np.asarray(raw, dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: FloatMatrix = vectors / np.maximum(lengths, np.float32(1e-12))
        return unit

    def _read(self) -> "SentenceTransformer":
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(self._folder), device=self._device, local_files_only=True)

    def _try_bfloat16(self) -> None:
        exact = self._encode(list(_SAMPLE))
        self._encoder.bfloat16()
        error = float((1 - (exact * self._encode(list(_SAMPLE))).sum(axis=1)).max())
        logger.info("bfloat16 changes vectors by at most %.4f (1 - cosine)", error)
        if error < _MAX_COSINE_ERROR:
            self.dtype = "bfloat16"
        else:
            self._encoder = self._read()  # the cast lost digits: read the weights again
