"""A dataset of the Hub reads files of the Hub and no others. Start at `check_files`.

Its card names the files it consists of, and could name any URL, or a path of this machine.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from distill_studio.core.errors import InvalidInput

_HUB = "hf://"
# fsspec opens what a card or a row names. These stay on the Hub, in memory, or inside an archive.
_PROTOCOLS = {"hf", "file", "local", "memory", "zip", "tar", "gzip", "bz2", "xz", "zstd", "lz4"}


def check_files(files: Mapping[Any, Iterable[Any]]) -> None:
    """Split -> its files, each of which has to be the Hub's.

    Raises:
        InvalidInput: Names the first that is not.
    """
    for path in (str(path) for paths in files.values() for path in paths):
        if not path.rpartition("::")[2].startswith(_HUB):
            raise InvalidInput(
                f"The dataset reads '{path[:200]}', which is not a file of the Hub.",
                "Download it yourself and add it as a file.",
            )


def keep_to_the_hub() -> None:
    """Forget the other protocols: images and the like of a row may name a URL, too."""
    # Seconds to import: not at the app's start.
    from fsspec.registry import _registry, known_implementations  # noqa: PLC0415

    for kept in (known_implementations, _registry):
        for name in [name for name in kept if name not in _PROTOCOLS]:
            del kept[name]
