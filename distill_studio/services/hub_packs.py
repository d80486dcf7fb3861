"""Benchmarks from the Hugging Face Hub, as a file that the readers of seeds take."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from distill_studio.core.errors import InvalidInput

_MOST_ROWS = 200_001


def download(dataset: str, config: str, split: str, path: Path) -> None:
    """Write a split of a Hub dataset as JSON lines; never runs code of the dataset.

    Raises:
        InvalidInput: It cannot be reached, or does not have this configuration or split.
    """
    # Seconds to import: not at the app's start.
    from datasets import load_dataset  # noqa: PLC0415
    from datasets.exceptions import DatasetsError  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    try:
        rows = load_dataset(dataset, config or None, split=split, streaming=True)
        with path.open("w", encoding="utf-8") as file:
            for row in islice(rows, _MOST_ROWS):
                file.write(json.dumps(row, ensure_ascii=False, default=_plain) + "\n")
    except (DatasetsError, HfHubHTTPError, OSError, ValueError, RuntimeError) as err:
        raise InvalidInput(
            f"'{dataset}' ({split}) could not be read from the Hub: {_first_line(err)}",
            "Check the name, configuration and split; without a network, download the benchmark"
            " elsewhere and add it as a file.",
        ) from err


def _plain(value: Any) -> str:  # noqa: ANN401  (dates, images: whatever JSON cannot hold)
    return str(value)[:1000]


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]
