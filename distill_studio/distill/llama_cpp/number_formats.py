"""In which number format a GGUF file keeps its weights, and how large that makes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

GgufType = Literal["f16", "bf16", "q8_0", "q4_1", "q4_0"]
_TABLES = ("token_embd.weight", "output.weight")  # a row per token


@dataclass(frozen=True)
class NumberFormat:
    """One of `NUMBER_FORMATS`.

    Attributes:
        about: What it costs and saves.
        layers: Format of the matrices of the layers, a name of `gguf.GGMLQuantizationType`.
        tables: Format of the token embeddings and the output layer. They stay at eight bits where
            the layers have four, as llama.cpp itself does: their rounding is heard in every token.
    """

    about: str
    layers: str
    tables: str

    @property
    def file_type(self) -> str:
        """Its name in `gguf.LlamaFileType`."""
        return f"MOSTLY_{self.layers}"


NUMBER_FORMATS: dict[GgufType, NumberFormat] = {
    "f16": NumberFormat("16 bits: answers as here, fast everywhere", "F16", "F16"),
    "bf16": NumberFormat("16 bits as most students are kept", "BF16", "BF16"),
    "q8_0": NumberFormat("8 bits: a small student's answers can change", "Q8_0", "Q8_0"),
    "q4_1": NumberFormat("4 bits: answers change", "Q4_1", "Q8_0"),
    "q4_0": NumberFormat("4 bits, the smallest: answers change most", "Q4_0", "Q8_0"),
}


def format_of(kind: GgufType, name: str, shape: Sequence[int]) -> "GGMLQuantizationType":
    """The format of one tensor: norms and biases stay exact, matrices are as `kind` says.

    Args:
        kind: Of the file.
        name: Of the tensor in the file.
        shape: Rows first.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(shape) == 1:
        return GGMLQuantizationType.F32
    chosen = NUMBER_FORMATS[kind]
    found = GGMLQuantizationType[chosen.tables if name in _TABLES else chosen.layers]
    block, _ = GGML_QUANT_SIZES[found]
    return GGMLQuantizationType.F16 if shape[-1] % block else found  # rows are whole blocks


def stored_bytes(shape: Sequence[int], stored: "GGMLQuantizationType") -> int:
    """What a tensor takes in the file, without padding."""
    from gguf import GGML_QUANT_SIZES

    block, block_bytes = GGML_QUANT_SIZES[stored]
    return prod(shape) // block * block_bytes
