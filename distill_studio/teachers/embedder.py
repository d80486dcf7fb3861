"""Text to unit vectors with sentence-transformers. Start at `SentenceEmbedder`.

The model's own `encode` runs batches of 32 texts, whatever their length, on all cores at once. Here
a batch is as many texts of like length as make some thousand tokens, which keeps what a layer
computes within the caches, and each core has its own. Where a CPU computes in bfloat16, the
weights lie packed for its instructions.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_studio.core.protocols import FloatMatrix
from distill_studio.teachers.torch_threads import one_core_threads
from distill_studio.teachers.windows import WindowCutter

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

_CPU_TOKENS = 1024  # per batch and core
_GPU_TOKENS = 32_768
_MAX_COSINE_ERROR = 1e-3
_SAMPLE = (
    "How do I bake bread?",
    "def add(a, b):\n    return a + b",
    "The stock market fell by three percent on Monday, and nobody could say why. " * 12,
    "Ünïcödé and 数学 in one line",
)
TokenIds = Sequence[int]


class SentenceEmbedder:
    """Implements `Embedder`. Loading takes seconds; the model is shared and thread-safe.

    Args:
        folder: A sentence-transformers model.
        model: Its id, stored beside the vectors.
        device: cpu, cuda or mps.
        dtype: float32, or bfloat16, which is used only where it changes the vectors of a few
            sample texts by less than 0.001 (1 - cosine).
    """

    def __init__(
        self, folder: Path, model: str, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        import torch

        self.model = model
        self.folder = folder
        self._device = device
        self._encoder = self._read()
        tokenizer: Any = self._encoder.tokenizer
        self.max_tokens = int(self._encoder.max_seq_length or 512)
        self._cutter = WindowCutter(tokenizer.backend_tokenizer, self.max_tokens)
        self.window_tokens = self._cutter.window_tokens
        self.tokenizer: Any = copy.deepcopy(tokenizer.backend_tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_tokens)
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._inputs = tuple(tokenizer.model_input_names)
        self.dim = int(self._encoder.get_embedding_dimension() or 0)
        is_cpu = device == "cpu"
        self._batch_tokens = _CPU_TOKENS if is_cpu else _GPU_TOKENS
        self._threads = one_core_threads(torch.get_num_threads() if is_cpu else 1)
        self.dtype = "float32"
        if dtype == "bfloat16":
            self._try_bfloat16()

    def windows(self, text: str) -> list[str]:
        """See `WindowCutter.windows`."""
        return self._cutter.windows(text)

    def embed(self, texts: Sequence[str]) -> FloatMatrix:
        """(N, dim) float32, rows of length one; texts beyond a window are cut off."""
        encoded = self.tokenizer.encode_batch_fast(list(texts)) if texts else []
        return self.embed_tokens([one.ids for one in encoded])

    def embed_tokens(self, ids: Sequence[TokenIds]) -> FloatMatrix:
        """(N, dim) as `embed`, of texts given as tokens, special ones included."""
        vectors = np.zeros((len(ids), self.dim), dtype=np.float32)
        batches = list(_batches(ids, self._batch_tokens))
        inputs = ([ids[row] for row in batch] for batch in batches)
        for batch, found in zip(batches, self._threads.map(self._forward, inputs), strict=True):
            vectors[batch] = found
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: FloatMatrix = vectors / np.maximum(lengths, np.float32(1e-12))
        return unit

    def _forward(self, ids: Sequence[TokenIds]) -> FloatMatrix:
        """One batch, on the thread that calls."""
        import torch

        width = max(1, max(map(len, ids)))
        tokens = np.full((len(ids), width), self._pad_id, dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, one in enumerate(ids):
            tokens[row, : len(one)] = one
            mask[row, : len(one)] = 1
        given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": 0 * tokens}
        with torch.inference_mode():
            features: dict[str, torch.Tensor] = {
                name: torch.from_numpy(given[name]).to(self._device)
                for name in self._inputs
                if name in given
            }
            found = self._encoder(features)["sentence_embedding"]
            vectors: FloatMatrix = found.float().cpu().numpy()
        return vectors

    def _read(self) -> "SentenceTransformer":
        from sentence_transformers import SentenceTransformer

        encoder = SentenceTransformer(str(self.folder), device=self._device, local_files_only=True)
        encoder.eval()
        return encoder

    def _try_bfloat16(self) -> None:
        from distill_studio.teachers.packed_linear import can_pack, pack

        exact = self.embed(_SAMPLE)
        self._encoder.bfloat16()
        if self._device == "cpu" and can_pack():
            pack(self._encoder, self._batch_tokens)
        error = float((1 - (exact * self.embed(_SAMPLE)).sum(axis=1)).max())
        logger.info("bfloat16 changes vectors by at most %.4f (1 - cosine)", error)
        if error < _MAX_COSINE_ERROR:
            self.dtype = "bfloat16"
        else:
            self._encoder = self._read()  # the cast lost digits: read the weights again


def _batches(ids: Sequence[TokenIds], budget: int) -> Iterator[list[int]]:
    """Rows of like length, the longest first; a batch with its padding keeps to the budget."""
    batch: list[int] = []
    for row in sorted(range(len(ids)), key=lambda row: -len(ids[row])):
        if batch and (len(batch) + 1) * len(ids[batch[0]]) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
