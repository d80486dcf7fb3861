"""Part-of-text search that reads few texts: a bit pattern of each text's trigrams rules most out.

A text that holds a needle holds each of its trigrams (three bytes of UTF-8 in a row), so a row
whose pattern lacks one of their bits cannot match, and its text is not read. Different trigrams may
share a bit: a pattern only rules out, the text itself decides. (Signature files: Faloutsos and
Christodoulakis, ACM TOIS 1984.)
"""

import numpy as np
import numpy.typing as npt

_BITS = 4096  # a quarter of them set for a text of 1,700 bytes
_SHIFT = 20  # leaves 12 bits of a 32-bit hash: 4096 values
_FACTORS = (np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D))


def normalise(text: str) -> str:
    """As texts and needles are compared: in small letters."""
    return text.lower()


def bit_pattern(text: str) -> bytes:
    """The pattern of a normalised text: 512 bytes, for a column of type BIT."""
    bits = np.zeros(_BITS, dtype=np.uint8)
    bits[_trigram_bits(text)] = 1
    return np.packbits(bits).tobytes()


def condition(text_column: str, bits_column: str, needle: str) -> str:
    """SQL that is true where the text holds the needle; it has one parameter, the needle.

    The columns come from our code; of the needle only bit numbers enter the SQL. A row without a
    pattern (from before the column) is read. `CASE` keeps the order: in a plain `AND` the engine
    looks into every text first.
    """
    tests = [f"get_bit({bits_column}, {bit}) = 1" for bit in np.unique(_trigram_bits(needle))]
    if not tests:
        return f"contains({text_column}, ?)"
    may_hold = f"{bits_column} IS NULL OR ({' AND '.join(tests)})"
    return f"CASE WHEN {may_hold} THEN contains({text_column}, ?) ELSE false END"


def _trigram_bits(text: str) -> npt.NDArray[np.uint32]:
    """The bit number of each trigram, in order; none for a text of under three bytes."""
    data = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.uint32)
    if len(data) < len(_FACTORS):
        return np.empty(0, dtype=np.uint32)
    first, second, third = (
        data[i : len(data) - 2 + i] * factor for i, factor in enumerate(_FACTORS)
    )
    return np.asarray((first ^ second ^ third) >> np.uint32(_SHIFT), dtype=np.uint32)
