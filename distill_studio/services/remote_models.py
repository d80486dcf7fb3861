"""Which models of a run the other machine takes from the Hub, and which travel with it."""

from __future__ import annotations

import re
from pathlib import Path

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.config import RunConfig
from distill_studio.remote import package

MOST_PACKED_BYTES = 8_000_000_000
_CACHED = re.compile(r"models--([^/]+?)--([^/]+)/snapshots/([0-9a-f]{40})")


def from_hub(config: RunConfig) -> dict[str, str]:
    """Folder -> `owner/name@commit` of the models that were downloaded from the Hub."""
    found = {}
    for folder in package.models_of(config):
        place = _CACHED.search(Path(folder).as_posix())
        if place is not None and Path(folder).name == place[3]:
            found[folder] = f"{place[1]}/{place[2]}@{place[3]}"
    return found


def packed_bytes(config: RunConfig) -> int:
    """What a package would take, but for the app's code.

    Raises:
        InvalidInput: Its models or stored signals are too large to travel; says the way out.
    """
    there = from_hub(config)
    own = [Path(folder) for folder in package.models_of(config) if folder not in there]
    models = sum(package.model_bytes(folder) for folder in own)
    if models > MOST_PACKED_BYTES:
        raise InvalidInput(
            f"Models of this machine of {models / 1e9:.0f} GB would have to be sent along.",
            "Push them to the Hub and choose them by their id there: the other machine then takes"
            " them from there.",
        )
    stored = sum(package.folder_bytes(store) for store in package.stored_signals(config))
    if models + stored > MOST_PACKED_BYTES:
        raise InvalidInput(
            f"The stored signal takes {stored / 1e9:.0f} GB, which would have to be sent along.",
            "Keep fewer ids or draws per token, or let the teacher be asked at each update.",
        )
    return models + stored + package.folder_bytes(Path(config.data.folder))
