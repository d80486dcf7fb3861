"""Rows that are tokens already: TRL's preference trainers take them as they are."""

from typing import Any


class PreTokenised:
    """Put before a trainer of TRL whose `_prepare_dataset` would tokenise; others have a switch."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if "prompt_ids" in dataset.column_names:
            return dataset
        return super()._prepare_dataset(dataset, *args, **kwargs)  # type: ignore[misc]
