"""Datasets of the Hub: what one offers, and its rows, streamed. Start at `look` and `stream`.

Only data files of the dataset's own repository are read, at one commit, by the readers of
`datasets` for text and tables; no code of a dataset is run, no image or sound is decoded.
"""

import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import Field

from distill_studio.core.errors import InvalidInput, NotFound, StudioError, Unavailable
from distill_studio.core.records import Record
from distill_studio.seeds.hub_address import HOSTS, DatasetAddress, read_dataset
from distill_studio.services import hub_errors
from distill_studio.services.hub_files import check_files, keep_to_the_hub
from distill_studio.services.hub_tokens import Token

_READERS = ("parquet", "json", "csv", "arrow", "text")
_MORE_CARD = ".huggingface.yaml"  # which `datasets` reads beside the card
_BRIEF_BYTES = 1024 * 1024
_BRIEF_ROWS = 500
_READ_RETRIES = 3  # of a chunk whose connection broke; each waits some seconds
MOST_ROWS = 1_000_000
Rows = Generator[Mapping[str, Any], None, None]


class HubPlace(Record):
    """Rows of a dataset of the Hub."""

    dataset: str = Field(description="Its id, owner/name, or the address of its page.")
    config: str = Field(default="", description="Configuration; '' = its default one.")
    split: str = Field(default="", description="Split; '' = train, or else the first.")
    revision: str = Field(default="", description="Branch, tag or commit; '' = main.")
    commit: str = Field(default="", description="What the revision was when it was looked at.")
    most_rows: int = Field(default=10_000, ge=1, le=MOST_ROWS, description="Rows read at most.")


class HubListing(Record):
    """What a dataset of the Hub offers, at one of its commits."""

    dataset: str = Field(description="Its id, owner/name.")
    revision: str = Field(description="What was asked for: a branch, tag or commit.")
    commit: str = Field(description="The commit that it is.")
    configs: list[str] = Field(description="Its configurations.")
    config: str = Field(description="The one looked into.")
    splits: list[str] = Field(description="The splits of that configuration.")
    split: str = Field(description="The one asked for, else train, or the first.")
    license: str = Field(default="", description="As its card says.")
    is_private: bool = Field(default=False, description="Seen with a token only.")
    is_gated: bool = Field(default=False, description="Its terms have to be accepted.")


def address(text: str) -> DatasetAddress:
    """`read_dataset`, also with the Hub that HF_ENDPOINT names."""
    return read_dataset(text, hosts())


def hosts() -> frozenset[str]:
    """Where pages of the Hub lie."""
    from huggingface_hub import constants  # noqa: PLC0415

    return HOSTS | {urlsplit(constants.ENDPOINT).netloc.lower()}


def look(place: HubPlace, token: Token) -> HubListing:
    """What a dataset offers; reads its card and the names of its files, no rows.

    Raises:
        InvalidInput: No id, or files that are elsewhere or of no kind that is read.
        NotFound: No such dataset, revision, configuration or split, or not for this token.
        NotAllowed: It is gated, or the token was refused.
        Unavailable: The Hub does not answer, or asks to wait.
    """
    return _open(place, token)[0]


def stream(place: HubPlace, token: Token, *, is_brief: bool = False) -> tuple[HubListing, Rows]:
    """What a dataset offers, and the rows of the split, which are fetched as they are taken.

    Args:
        place: Where they lie.
        token: With which the Hub is asked.
        is_brief: Only the first rows will be taken: fetch in small parts.

    Raises:
        StudioError: As `look`; also while rows are taken.
    """
    listing, builder = _open(place, token)
    _read_in_parts(builder, is_brief=is_brief)
    return listing, _rows(listing, builder, has_token=bool(token))


def _rows(listing: HubListing, builder: Any, *, has_token: bool) -> Rows:  # noqa: ANN401
    with _told(listing.dataset, listing.revision, has_token=has_token):
        rows = builder.as_streaming_dataset(split=listing.split)
        if rows.features:
            rows = rows.decode(False)  # a row may name any file as its image
        yield from rows


def _read_in_parts(builder: Any, *, is_brief: bool) -> None:  # noqa: ANN401
    """Its readers fetch 10 MiB of JSON and 32 MiB of Parquet before the first row."""
    from pyarrow.dataset import ParquetFragmentScanOptions  # noqa: PLC0415  (not at the start)

    if hasattr(builder.config, "fragment_scan_options"):
        # no later row groups ahead of time: what is not taken is not fetched
        builder.config.fragment_scan_options = ParquetFragmentScanOptions(pre_buffer=False)
    is_csv = hasattr(builder.config, "delimiter")
    if is_csv:
        builder.config.keep_default_na = False  # an answer may be "None"
    if is_brief and hasattr(builder.config, "chunksize"):  # in rows for CSV, else in bytes
        builder.config.chunksize = _BRIEF_ROWS if is_csv else _BRIEF_BYTES


def _open(place: HubPlace, token: Token) -> tuple[HubListing, Any]:
    """The listing, and the builder of `datasets` for its configuration."""
    # Seconds to import: not at the app's start.
    from huggingface_hub import HfApi  # noqa: PLC0415

    asked = address(place.dataset)
    revision = place.revision.strip() or asked.revision
    with _told(asked.dataset, revision, has_token=bool(token)):
        at = place.commit.strip() or revision or None
        api = HfApi(token=token)
        info = api.dataset_info(asked.dataset, revision=at)
        dataset, commit = info.id, str(info.sha)
        said: Any = info.card_data  # its methods have no types
        card = dict(said.to_dict()) if said else {}
        _check_card(dataset, card)
        if info.gated:
            api.auth_check(dataset, repo_type="dataset")  # `datasets` loses the reason
        if _MORE_CARD in {one.rfilename for one in info.siblings or ()}:
            more = api.hf_hub_download(dataset, _MORE_CARD, repo_type="dataset", revision=commit)
            _check_card(dataset, yaml.safe_load(Path(more).read_text(encoding="utf-8")))
        builder = _builder(dataset, place.config.strip() or asked.config, commit, token)
        files = builder.config.data_files or {}
        check_files(files)
        own = f"hf://datasets/{dataset}@{commit}/"
        for path in (str(path) for paths in files.values() for path in paths):
            if not path.startswith(own):
                raise _elsewhere(dataset, path)
    splits = [str(split) for split in files]
    return HubListing(
        dataset=dataset,
        revision=revision or "main",
        commit=commit,
        configs=list(builder.builder_configs) or [builder.config.name],
        config=builder.config.name,
        splits=splits,
        split=_split(dataset, place.split.strip() or asked.split, splits),
        license=", ".join(_texts(card.get("license"))),
        is_private=bool(info.private),
        is_gated=bool(info.gated),
    ), builder


def _builder(dataset: str, config: str, commit: str, token: Token) -> Any:  # noqa: ANN401
    """The builder of a configuration: the one asked for, else the default, else the first."""
    import datasets  # noqa: PLC0415

    keep_to_the_hub()
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # it would tell a third party
    datasets.config.STREAMING_READ_MAX_RETRIES = _READ_RETRIES
    # An empty cache: nothing that lies in another one stands in for the Hub.
    with tempfile.TemporaryDirectory(prefix="hub-") as cache:
        # hf:// so that a folder of this machine by that name is not meant
        where = {
            "path": f"hf://datasets/{dataset}",
            "revision": commit,
            "token": token,
            "cache_dir": cache,
        }
        try:
            builder = datasets.load_dataset_builder(name=config or None, **where)
        except ValueError as err:
            if "Config name is missing" not in str(err) and "BuilderConfig" not in str(err):
                raise
            del where["cache_dir"]
            names = datasets.get_dataset_config_names(**where)
            if config or not names:
                raise NotFound(
                    f"'{dataset}' has no configuration '{config}'.",
                    f"It has: {', '.join(names[:50])}.",
                ) from None
            return _builder(dataset, names[0], commit, token)
    reader = next(
        base.__module__.split(".")[2]
        for base in type(builder).__mro__
        if base.__module__.startswith("datasets.packaged_modules.")
    )
    if reader == "cache":
        raise Unavailable(f"The Hub did not answer for '{dataset}'.", "Try again.")
    if reader not in _READERS:
        raise InvalidInput(
            f"'{dataset}' holds no text or tables: its files are read by '{reader}'.",
            "Parquet, JSON, JSON Lines, CSV, Arrow and text files can be imported.",
        )
    return builder


def _split(dataset: str, asked: str, splits: list[str]) -> str:
    if asked and asked not in splits:
        raise NotFound(f"'{dataset}' has no split '{asked}'.", f"It has: {', '.join(splits)}.")
    return asked or ("train" if "train" in splits or not splits else splits[0])


def _check_card(dataset: str, card: Any) -> None:  # noqa: ANN401  (any YAML value)
    """Refuse a card that names files elsewhere, before anybody follows it.

    Raises:
        InvalidInput: Names the first.
    """
    configs = card.get("configs") if isinstance(card, dict) else None
    for config in configs if isinstance(configs, list) else []:
        if not isinstance(config, dict):
            continue
        for path in (*_texts(config.get("data_files")), *_texts(config.get("data_dir"))):
            if "://" in path or "::" in path or path[:1] in "/~\\" or ".." in path.split("/"):
                raise _elsewhere(dataset, path)


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401  (any YAML value)
    """Every text in a value of a card."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        yield from _texts(value.get("path"))


def _elsewhere(dataset: str, path: str) -> InvalidInput:
    return InvalidInput(
        f"The card of '{dataset}' names '{path[:200]}', which is not a file of its repository.",
        "Download it yourself, look at it, and bring it in as a file.",
    )


@contextmanager
def _told(what: str, revision: str, *, has_token: bool) -> Iterator[None]:
    """Errors of the libraries as errors for the user."""
    try:
        yield
    except StudioError:
        raise
    except hub_errors.expected() as err:
        raise hub_errors.in_words(err, what, revision=revision, has_token=has_token) from err
