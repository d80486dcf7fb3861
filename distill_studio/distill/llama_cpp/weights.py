"""A student's weights as they lie in its safetensors files, read a few rows at a time. No torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    import numpy as np
    from gguf.utility import LocalTensor

_DTYPES = {"BF16": "<u2", "F16": "<f2", "F32": "<f4"}
_PIECE = 4_000_000  # numbers that are converted at once: 16 MB of float32


@dataclass(frozen=True)
class Weight:
    """One tensor of a file.

    Attributes:
        name: In transformers.
        shape: Rows first.
        stored: Where it lies.
    """

    name: str
    shape: tuple[int, ...]
    stored: "LocalTensor"

    def pieces(self, heads: int = 0) -> Iterator["np.ndarray"]:
        """The tensor as float32, some rows at a time.

        Args:
            heads: How many heads the rows are of, where llama.cpp's order is wanted: transformers
                turns row i of a head with row i + half, llama.cpp turns neighbours.
        """
        import numpy as np

        raw = self.stored.mmap_bytes().view(_DTYPES[self.stored.dtype]).reshape(self.shape)
        rows = self.shape[0]
        order = _interleaved(rows, heads) if heads else None
        step = max(1, _PIECE // prod(self.shape[1:]))
        for start in range(0, rows, step):
            wanted = slice(start, start + step)
            piece = raw[wanted] if order is None else raw[order[wanted]]
            if self.stored.dtype == "BF16":  # the upper half of a float32
                yield (piece.astype(np.uint32) << 16).view(np.float32)
            else:
                yield piece.astype(np.float32)


def read_weights(folder: Path) -> list[Weight]:
    """All tensors of a model's folder, from the files' heads.

    Raises:
        NotFound: There is no safetensors file.
        InvalidInput: A tensor is not of floating-point numbers.
    """
    from gguf.utility import SafetensorsLocal

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise NotFound(f"There are no weights (*.safetensors) in {folder}.", "Train the run again.")
    found = [
        Weight(name, stored.shape, stored)
        for file in files
        for name, stored in SafetensorsLocal(file).tensors.items()
    ]
    for weight in found:
        if weight.stored.dtype not in _DTYPES:
            raise InvalidInput(
                f"The weight {weight.name} is kept as {weight.stored.dtype}, which cannot be read"
                " here.",
                "Take the whole model as it is.",
            )
    return found


def _interleaved(rows: int, heads: int) -> "np.ndarray":
    """Row numbers in llama.cpp's order: within each head the two halves alternate."""
    import numpy as np

    return np.arange(rows).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)
