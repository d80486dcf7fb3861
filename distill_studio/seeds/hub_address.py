"""What people paste for a dataset or a collection of the Hugging Face Hub.

Start at `read_dataset` and `read_collection`. Nothing is asked of the Hub here.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from distill_studio.core.errors import InvalidInput

HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})
_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_DATASET = re.compile(rf"{_PART}(?:/{_PART})?", re.ASCII)
_COLLECTION = re.compile(rf"{_PART}/{_PART}-[0-9a-f]{{24}}", re.ASCII)
_AT_REVISION = ("tree", "blob", "resolve", "raw", "commit", "commits")
_PAGES = (*_AT_REVISION, "viewer", "discussions", "settings", "embed", "sql-console")
_HOW = "Give an id such as openai/gsm8k, or the address of the dataset's page on the Hub."


@dataclass(frozen=True, slots=True)
class DatasetAddress:
    """A dataset, and what else its address says; '' where it says nothing of it."""

    dataset: str
    revision: str = ""
    config: str = ""
    split: str = ""


def read_dataset(text: str, hosts: Collection[str] = HOSTS) -> DatasetAddress:
    """The dataset that an id, a `hf://` path or the address of a page names.

    Args:
        text: As it was pasted.
        hosts: Where pages of the Hub lie.

    Raises:
        InvalidInput: It names none.
    """
    pasted = text.strip()
    if not pasted:
        raise InvalidInput("The dataset has no id.", _HOW)
    revision = ""
    if pasted.startswith("hf://"):
        pasted, _, revision = pasted.removeprefix("hf://").partition("@")
        segments = pasted.split("/")
    else:
        segments = _segments(pasted, hosts)
    if segments[:1] == ["datasets"]:
        segments = segments[1:]
    elif "://" in text:
        raise InvalidInput(f"'{_short(text)}' is not the page of a dataset.", _HOW)
    has_owner = len(segments) > 1 and segments[1] not in _PAGES
    dataset, rest = "/".join(segments[: 1 + has_owner]), segments[1 + has_owner :]
    if not _DATASET.fullmatch(dataset) or ".." in dataset or (rest and rest[0] not in _PAGES):
        raise InvalidInput(f"'{_short(text)}' does not name a dataset.", _HOW)
    config = split = ""
    if rest and rest[0] in _AT_REVISION:
        revision = rest[1] if len(rest) > 1 else ""
    elif rest and rest[0] == "viewer":
        config, split = (*rest[1:3], "", "")[:2]
    return DatasetAddress(dataset, revision.partition("/")[0], config, split)


def read_collection(text: str, hosts: Collection[str] = HOSTS) -> str | None:
    """The slug of the collection that is named; None where none is."""
    segments = _segments(text.strip(), hosts)
    if segments[:1] == ["collections"]:
        segments = segments[1:]
    slug = "/".join(segments)
    return slug if _COLLECTION.fullmatch(slug) else None


def read_list(text: str, hosts: Collection[str] = HOSTS) -> Sequence[DatasetAddress]:
    """Several datasets, apart by commas, spaces or lines; each once, in their order.

    Raises:
        InvalidInput: One of them is none; says which.
    """
    found = [read_dataset(one, hosts) for one in re.split(r"[\s,;]+", text) if one]
    if not found:
        raise InvalidInput(
            "Nothing is named.", "Give a collection's address, or the ids of datasets."
        )
    return list(dict.fromkeys(found))


def _segments(pasted: str, hosts: Collection[str]) -> list[str]:
    if "://" not in pasted:
        first = pasted.split("/")[0].lower()
        if first not in hosts:
            return [unquote(part) for part in pasted.split("/")]
        pasted = f"https://{pasted}"
    parts = urlsplit(pasted)
    if parts.scheme not in ("http", "https") or parts.netloc.lower() not in hosts:
        raise InvalidInput(
            f"'{_short(pasted)}' is not an address of the Hugging Face Hub.",
            f"{_HOW} What lies elsewhere: download it and bring it in as a file.",
        )
    return [unquote(part) for part in parts.path.split("/") if part]


def _short(text: str) -> str:
    return text.strip()[:200]
