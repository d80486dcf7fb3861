"""Which layers of a student follow which layers of a teacher: `chosen_pairs`. Torch-free.

Layers are numbered from 1; the states of a layer are what it hands to the next.
"""

import re

from distill_studio.core.errors import InvalidInput

MAPS = "feature_maps"  # attribute of a student while it is drawn to wider hidden states
_SPREAD = 4  # pairs of the even map: quarters of the depth
_PAIR = re.compile(r"^(\d+):(\d+)$")

LayerPairs = tuple[tuple[int, int], ...]


def even_pairs(student_layers: int, teacher_layers: int, count: int = _SPREAD) -> LayerPairs:
    """Layers at equal shares of both depths, the last of each among them.

    (TinyBERT's uniform map, Jiao et al. 2020, arXiv:1909.10351, on as many layers as asked.)
    """
    count = min(count, student_layers, teacher_layers)
    return tuple(
        (_share(student_layers, k, count), _share(teacher_layers, k, count))
        for k in range(1, count + 1)
    )


def _share(layers: int, part: int, of: int) -> int:
    """Layer at `part / of` of the depth, halves rounded up."""
    return (2 * layers * part + of) // (2 * of)


def parse_pairs(text: str) -> LayerPairs:
    """Read `8:10, 16:20` (student : teacher); nothing gives no pairs.

    Raises:
        InvalidInput: Says which pair it cannot read.
    """
    found = []
    for part in text.replace(";", ",").split(","):
        pair = part.replace(" ", "")
        if not pair:
            continue
        match = _PAIR.match(pair)
        if match is None:
            raise InvalidInput(
                f"Layers: '{part.strip()}' is not a pair of layers.",
                "Write student:teacher, numbered from 1, with commas between: 8:10, 16:20.",
            )
        found.append((int(match[1]), int(match[2])))
    return tuple(found)


def chosen_pairs(wanted: LayerPairs, student_layers: int, teacher_layers: int) -> LayerPairs:
    """The wanted pairs, or the even map where none is wanted.

    Raises:
        InvalidInput: A layer that is not there, or a student layer that is to follow two.
    """
    if not wanted:
        return even_pairs(student_layers, teacher_layers)
    for pair in wanted:
        for who, layer, layers in zip(
            ("student", "teacher"), pair, (student_layers, teacher_layers), strict=True
        ):
            if not 1 <= layer <= layers:
                raise InvalidInput(
                    f"The {who} has no layer {layer}: it has layers 1 to {layers}.",
                    "Choose other pairs of layers, or leave them empty for the even map.",
                )
    students = [student for student, _ in wanted]
    twice = next((layer for layer in students if students.count(layer) > 1), None)
    if twice is not None:
        raise InvalidInput(
            f"Layer {twice} of the student is to follow two layers.", "Name it in one pair only."
        )
    return tuple(sorted(wanted))


def pairs_text(pairs: LayerPairs) -> str:
    """As `parse_pairs` reads them."""
    return ", ".join(f"{student}:{teacher}" for student, teacher in pairs)
