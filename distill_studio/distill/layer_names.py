"""What the layers of a model are called, read from the names of its weights. Torch-free.

Pre-flight asks `matrix_names` and `has_layer_list` before a model is loaded.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from distill_studio.core.errors import InvalidInput

_NUMBERED = re.compile(r"(^|\.)\d+\.")
# As the installed architectures call them; a loaded model says which they are.
OUTPUT_LAYERS = ("lm_head", "embed_out")
EMBEDDINGS = ("embed_tokens", "embed_in", "wte", "word_embeddings")
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


def output_names(names: Sequence[str]) -> list[str]:
    """Of the dotted names of stored matrices, those of the output layer.

    Where none is stored, the embeddings are it.
    """
    for words in (OUTPUT_LAYERS, EMBEDDINGS):
        found = [name for name in names if name.rsplit(".", 1)[-1] in words]
        if found:
            return found
    return []


def refuse_layers(wanted: Sequence[str], known: Sequence[str], output: Sequence[str]) -> None:
    """Refuse names of layers that match nothing, or the output layer.

    Losses multiply by the output layer's weight themselves, so an adapter of it would not learn.

    Args:
        wanted: Names, or dotted ends of names, of layers that are to get an adapter.
        known: Dotted names of those there are. The numbered ones are the decoder's own; embeddings
            and the output layer are outside, and are not proposed.
        output: Dotted names of the output layer, and of the embeddings where they are the same.

    Raises:
        InvalidInput: Says which match nothing, and which there are; or which is the output layer.
    """
    last = [w for w in wanted if any(_is(name, w) for name in output)]
    if last:
        raise InvalidInput(
            f"{', '.join(last)} cannot get an adapter: that is the output layer.",
            "Leave it out. Without names, all linear layers but the output layer get one.",
        )
    nothing = [w for w in wanted if not any(_is(name, w) for name in known)]
    if nothing:
        own = sorted({name.rsplit(".", 1)[-1] for name in known if _NUMBERED.search(name)})
        raise InvalidInput(
            f"The student has no linear layer named {', '.join(nothing)}.",
            f"It has {', '.join(own)}. Name some of them, or none: then all get an adapter.",
        )


def _is(name: str, wanted: str) -> bool:
    return name == wanted or name.endswith(f".{wanted}")
