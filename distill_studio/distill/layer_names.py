"""What the layers of a model are called, read from the names of its weights. Torch-free.

Pre-flight asks `matrix_names` and `has_layer_list` before a model is loaded.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from distill_studio.core.errors import InvalidInput

_NUMBERED = re.compile(r"(^|\.)\d+\.")
OUTPUT_LAYERS = ("lm_head", "embed_out")  # as the installed architectures call it
_LAYERS = re.compile(r"(^|\.)layers\.\d+\.")


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's weights by name; empty where they are in another format."""
    from safetensors import safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "np") as file:
            names = list(file.keys())
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
    return found


def matrix_names(folder: Path) -> list[str]:
    """Dotted names of the modules whose weight is a matrix: linear layers and embeddings."""
    shapes = weight_shapes(folder)
    return [
        name.removesuffix(".weight")
        for name, shape in shapes.items()
        if len(shape) == 2 and name.endswith(".weight")
    ]


def has_layer_list(folder: Path) -> bool:
    """False for an architecture whose decoder keeps its layers elsewhere than in `layers`."""
    names = weight_shapes(folder)
    return not names or any(_LAYERS.search(name) for name in names)


def refuse_unknown(wanted: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names of layers that match nothing.

    Args:
        wanted: Names, or dotted ends of names, of layers that are to get an adapter.
        known: Dotted names of those there are. The numbered ones are the decoder's own; embeddings
            and the output layer are outside; embeddings may be named, and are not proposed.

    Raises:
        InvalidInput: Says which match nothing, and which there are; or that the output layer
            cannot have one: losses multiply by its weight themselves.
    """
    last = sorted({w for w in wanted if w.rsplit(".", 1)[-1] in OUTPUT_LAYERS})
    if last:
        raise InvalidInput(
            f"The output layer ({', '.join(last)}) cannot get an adapter.",
            "Leave it out; name none and all linear layers but this one get an adapter.",
        )
    nothing = [w for w in wanted if not any(k == w or k.endswith(f".{w}") for k in known)]
    if nothing:
        own = sorted({name.rsplit(".", 1)[-1] for name in known if _NUMBERED.search(name)})
        raise InvalidInput(
            f"The student has no linear layer named {', '.join(nothing)}.",
            f"It has {', '.join(own)}. Name some of them, or none: then all get an adapter.",
        )
