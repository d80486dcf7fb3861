"""A dataset of the Hub as rows that `importing` takes like those of a file.

Start at `HubSamples.source` (the first rows, for a preview) and `whole` (all of them).
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from distill_studio.seeds.columns import ColumnMapping
from distill_studio.seeds.drafts import SAMPLE_ROWS, DraftedRow, columns_of, draft, settled
from distill_studio.seeds.source import SourceRow
from distill_studio.services import hub_data
from distill_studio.services.hub_data import HubListing, HubPlace
from distill_studio.services.hub_tokens import Token

FORMAT = "hub"
FROM_HUB = "from_hub"  # under which a row says where it comes from
_KEPT_SAMPLES = 8
_Row = Mapping[str, Any]


@dataclass(frozen=True)
class HubSource:
    """Rows of a dataset at one commit; an `OpenSource`.

    Args:
        listing: The dataset, its commit, configuration and split.
        most_rows: How many rows are read at most.
        columns: Column name -> an example, shortened.
        mapping: Which column is what.
    """

    listing: HubListing
    most_rows: int
    columns: dict[str, str]
    mapping: ColumnMapping
    _read: Iterator[_Row] = field(repr=False)

    format = FORMAT
    is_documents = False
    size_bytes = 0

    @property
    def name(self) -> str:
        """The dataset with its commit: `openai/gsm8k@740312add88f (main, test)`."""
        found = self.listing
        return f"{found.dataset}@{found.commit[:12]} ({found.config}, {found.split})"

    @property
    def origin(self) -> dict[str, Any]:
        """Dataset, configuration, split, revision and commit."""
        parts = ("dataset", "config", "split", "revision", "commit")
        return {FROM_HUB: {part: getattr(self.listing, part) for part in parts}}

    def fingerprint(self) -> str:
        """Hash of the names of what is read: at a commit they mean the same rows for ever."""
        found = self.listing
        named = "\0".join((found.dataset, found.commit, found.config, found.split))
        return hashlib.sha256(named.encode()).hexdigest()

    def rows(self) -> Iterator[DraftedRow]:
        """The rows, numbered from 1, once."""
        for number, values in enumerate(islice(self._read, self.most_rows), start=1):
            yield draft(SourceRow(number, values=dict(values)), self.mapping)


def whole(place: HubPlace, mapping: ColumnMapping | None, token: Token) -> HubSource:
    """All rows, up to the limit, fetched as they are taken.

    Raises:
        StudioError: As `hub_data.look`; the mapping names a column that is not there.
    """
    listing, rows = hub_data.stream(place, token)
    sample = list(islice(rows, SAMPLE_ROWS))
    return _source(listing, place, mapping, sample, chain(sample, rows))


class HubSamples:
    """The first rows of the datasets looked at last, so that another mapping fetches nothing."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], tuple[HubListing, list[_Row]]] = OrderedDict()
        self._lock = threading.Lock()

    def source(self, place: HubPlace, mapping: ColumnMapping | None, token: Token) -> HubSource:
        """The first rows only, of which one more than `SAMPLE_ROWS` says that there are more.

        Args:
            place: Where it says its commit, it is fetched once.
            mapping: Which column is what; None guesses.
            token: What it was seen with is shown to those with the same token only.

        Raises:
            StudioError: As `whole`.
        """
        key = (place.dataset, place.config, place.split, place.commit, token)
        with self._lock:
            found = self._kept.get(key) if place.commit else None
        if found is None:
            listing, rows = hub_data.stream(place, token, is_brief=True)
            with closing(rows):  # nothing more is fetched
                found = listing, list(islice(rows, SAMPLE_ROWS + 1))
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > _KEPT_SAMPLES:
                    self._kept.popitem(last=False)
        listing, sample = found
        return _source(listing, place, mapping, sample[:SAMPLE_ROWS], iter(sample))


def _source(
    listing: HubListing,
    place: HubPlace,
    mapping: ColumnMapping | None,
    sample: list[_Row],
    rows: Iterator[_Row],
) -> HubSource:
    columns = columns_of(sample)
    return HubSource(listing, place.most_rows, columns, settled(mapping, sample, columns), rows)
