"""`DISTILL_STUDIO_BACKUP`: a folder, or a dataset repository on the Hub."""

import re
from pathlib import Path

from distill_studio.backup.folder import FolderPlace
from distill_studio.backup.place import Place
from distill_studio.core.errors import InvalidInput

_HUB = re.compile(r"^(?:hf://datasets/)?([\w.-]+/[\w.-]+)/?$")


def place_of(address: str) -> Place:
    """The place that an address names. Nothing is made or read yet.

    `hf://datasets/user/name` and `user/name` are a repository; a folder begins with `/`, `./`, `~`.

    Raises:
        InvalidInput: It is neither.
    """
    address = address.strip()
    if address.startswith(("/", "./", "../", "~")):
        return FolderPlace(Path(address).expanduser().absolute())
    found = _HUB.match(address)
    if found is None:
        raise InvalidInput(
            f"DISTILL_STUDIO_BACKUP is '{address}': no folder and no dataset repository.",
            "Give hf://datasets/user/name, or a path that begins with /, ./ or ~.",
        )
    from distill_studio.backup.hub import HubPlace  # noqa: PLC0415  (huggingface_hub when wanted)

    return HubPlace(found[1])
