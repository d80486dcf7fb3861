"""Benchmarks from the Hugging Face Hub, as a file that the readers of seeds take.

The well-known ones stand in `assets/benchmarks.json` with their columns; `fetch` takes any split,
`fetch_known` one of those.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from distill_studio.core.errors import InvalidInput, NotFound, StudioError
from distill_studio.curate.decontaminate.reports import KnownBenchmark
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.services import hub_data, hub_errors
from distill_studio.services.hub_data import HubPlace
from distill_studio.services.hub_files import keep_to_the_hub
from distill_studio.services.hub_tokens import Token

_ASSET = Path(__file__).resolve().parents[2] / "assets" / "benchmarks.json"
MOST_ROWS = 200_001  # one more than a pack may hold, so that too much is noticed
# Of a known benchmark's file: what `fetch_known` writes.
_KNOWN_MAPPING = ColumnMapping(prompt="question", answer="answer")


@dataclass(frozen=True)
class FetchedPack:
    """A benchmark as a file on this machine. mapping: None where the columns are to be guessed."""

    name: str
    source: str
    path: Path
    mapping: ColumnMapping | None


@functools.cache
def known() -> tuple[KnownBenchmark, ...]:
    """The well-known benchmarks, in the order to show."""
    return tuple(KnownBenchmark(**one) for one in json.loads(_ASSET.read_text(encoding="utf-8")))


def known_named(name: str) -> KnownBenchmark:
    """The well-known benchmark of that name, whatever its case.

    Raises:
        NotFound: There is none; names those there are.
    """
    for one in known():
        if one.name.casefold() == name.strip().casefold():
            return one
    raise NotFound(
        f"No well-known benchmark is called '{name}'.",
        f"Known are {', '.join(one.name for one in known())}. Others come by their Hub id or as"
        " a file.",
    )


def fetch(place: HubPlace, token: Token, path: Path, name: str = "") -> FetchedPack:
    """Write a split of a Hub dataset as JSON lines; never runs code of the dataset.

    Args:
        place: Which; of its rows as many are written as a pack may hold.
        token: With which the Hub is asked.
        path: The file to write.
        name: Of the pack; '' = as the dataset.

    Raises:
        StudioError: As `hub_data.stream`.
    """
    listing, rows = hub_data.stream(place, token)
    _write(path, rows)
    parts = (listing.dataset, listing.config, listing.split, f"@{listing.commit[:12]}")
    return FetchedPack(
        name or listing.dataset.rpartition("/")[2], f"Hub {' '.join(parts)}", path, None
    )


def fetch_known(one: KnownBenchmark, token: Token, path: Path) -> FetchedPack:
    """Write a well-known benchmark as JSON lines of `question` and `answer`.

    Raises:
        StudioError: As `hub_data.stream`; or a column is gone that it had.
    """
    source = "Hub " + " ".join(part for part in (one.dataset, one.config, one.split) if part)
    if one.file:
        rows = _rows_of_a_file(one, token)
    else:
        place = HubPlace(dataset=one.dataset, config=one.config, split=one.split)
        listing, rows = hub_data.stream(place, token)
        source += f" @{listing.commit[:12]}"
    _write(path, (known_row(row, one) for row in rows))
    return FetchedPack(one.name, source, path, _KNOWN_MAPPING)


def known_row(row: Mapping[str, Any], one: KnownBenchmark) -> dict[str, str]:
    """A row of a well-known benchmark as `question` and `answer`.

    Raises:
        InvalidInput: A column is not there.
    """
    missing = [name for name in (*one.question, one.answer) if name and name not in row]
    if missing:
        raise InvalidInput(
            f"{one.dataset} has no column '{missing[0]}' any more; it has {', '.join(row)}.",
            "Add it by its Hub id, which guesses the columns, or as a file.",
        )
    return {
        "question": "\n\n".join(_text(row[name]) for name in one.question),
        "answer": _text(row[one.answer]) if one.answer else "",
    }


def _rows_of_a_file(one: KnownBenchmark, token: Token) -> Iterator[Mapping[str, Any]]:
    """Of a benchmark whose dataset is made by a program, and which lies beside it as a file."""
    # Seconds to import: not at the app's start.
    from datasets import load_dataset  # noqa: PLC0415

    keep_to_the_hub()
    file = f"hf://datasets/{one.dataset}/{one.file}"
    try:
        yield from load_dataset(
            "json", data_files=file, split=one.split, streaming=True, token=token
        )
    except StudioError:
        raise
    except hub_errors.expected() as err:
        raise hub_errors.in_words(err, one.dataset, has_token=bool(token)) from err


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in islice(rows, MOST_ROWS):
            file.write(json.dumps(dict(row), ensure_ascii=False, default=_plain) + "\n")


def _text(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    """A cell as text; the turns of a list one after the other."""
    if isinstance(value, list | tuple):
        return "\n\n".join(_text(one) for one in value)
    return "" if value is None else str(value)


def _plain(value: Any) -> str:  # noqa: ANN401  (dates, images: whatever JSON cannot hold)
    return str(value)[:1000]


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]
