"""Collections of benchmarks on the Hub: what one holds, and each of its datasets as packs.

Start at `look` and `packs_of`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import Field

from distill_studio.core.errors import InvalidInput, StudioError
from distill_studio.core.records import Record
from distill_studio.curate.decontaminate.reports import KnownBenchmark
from distill_studio.seeds.hub_address import read_collection, read_list
from distill_studio.services import hub_data, hub_errors, hub_packs
from distill_studio.services.hub_data import HubPlace
from distill_studio.services.hub_packs import FetchedPack
from distill_studio.services.hub_tokens import Token

MOST_DATASETS = 200
_MOST_CONFIGS = 8
_TESTS = ("test", "validation", "dev", "valid", "eval", "train")


class HubCollectionItem(Record):
    """Something in a collection."""

    dataset: str = Field(description="Id on the Hub.")
    note: str = Field(default="", description="What the collection says of it.")
    known: list[str] = Field(default_factory=list, description="Well-known benchmarks it holds.")
    problem: str = Field(default="", description="Why it cannot be added; '' = it can be tried.")
    place: HubPlace | None = Field(default=None, description="What would be read.")


class HubCollection(Record):
    """What a collection of the Hub holds, before any of it is fetched."""

    title: str = Field(description="Its title.")
    items: list[HubCollectionItem] = Field(description="In its order.")


class CollectedPack(Record):
    """What became of a dataset of a collection."""

    dataset: str = Field(description="Id on the Hub.")
    name: str = Field(default="", description="Of the benchmark here; '' = it was not added.")
    items: int = Field(default=0, description="Its items.")
    is_new: bool = Field(default=False, description="False when these very items were here.")
    problem: str = Field(default="", description="Why it was not added, and what to do.")


class CollectionReport(Record):
    """What adding a collection did."""

    title: str = Field(description="The collection.")
    packs: list[CollectedPack] = Field(description="Each dataset or configuration.")


def look(text: str, token: Token) -> HubCollection:
    """What a collection (its slug or address), or a list of datasets, holds.

    Raises:
        InvalidInput: It names none, or too many.
        NotFound: The Hub has no such collection, or not for this token.
        Unavailable: The Hub does not answer.
    """
    hosts = hub_data.hosts()
    slug = read_collection(text, hosts) if len(text.split()) == 1 else None
    if slug is not None:
        return _collection(slug, token)
    places = [
        HubPlace(
            dataset=one.dataset,
            config=one.config,
            split=one.split,
            revision=one.revision,
            most_rows=hub_packs.MOST_ROWS,
        )
        for one in read_list(text, hosts)
    ]
    return _checked(HubCollection(title="These datasets", items=[_item(one) for one in places]))


def packs_of(place: HubPlace, token: Token, new_path: Callable[[], Path]) -> Iterator[FetchedPack]:
    """Fetch a dataset: the well-known benchmarks it holds, else the test split of each of its
    configurations.

    Args:
        place: The dataset; what it says of configuration and split is kept to.
        token: With which the Hub is asked.
        new_path: A file to write to.

    Raises:
        StudioError: As `hub_data.look`; too many configurations, or a column is gone.
    """
    known = _known(place)
    for one in known:
        yield hub_packs.fetch_known(one, token, new_path())
    if known:
        return
    found = hub_data.look(place, token)
    configs = [place.config] if place.config else found.configs
    if len(configs) > _MOST_CONFIGS:
        raise InvalidInput(
            f"'{found.dataset}' has {len(configs)} configurations: {', '.join(configs[:20])}, ...",
            "Give the addresses of those you want, such as"
            f" https://huggingface.co/datasets/{found.dataset}/viewer/{configs[0]}.",
        )
    for config in configs:
        name = found.dataset.rpartition("/")[2] + (f" {config}" if len(configs) > 1 else "")
        chosen = place.model_copy(update={"config": config, "commit": found.commit})
        if not chosen.split:
            splits = hub_data.look(chosen, token).splits
            best = next((split for split in _TESTS if split in splits), splits[0] if splits else "")
            chosen = chosen.model_copy(update={"split": best})
        yield hub_packs.fetch(chosen, token, new_path(), name)


def _collection(slug: str, token: Token) -> HubCollection:
    from huggingface_hub import HfApi  # noqa: PLC0415  (with the rest of the Hub's libraries)

    try:
        found = HfApi(token=token).get_collection(slug)
    except StudioError:
        raise
    except hub_errors.expected() as err:
        raise hub_errors.in_words(err, slug, has_token=bool(token)) from err
    items = [
        _item(HubPlace(dataset=one.item_id, most_rows=hub_packs.MOST_ROWS), one.note or "")
        if one.item_type == "dataset"
        else HubCollectionItem(
            dataset=one.item_id, note=one.note or "", problem=f"It is a {one.item_type}."
        )
        for one in found.items
    ]
    return _checked(HubCollection(title=found.title, items=items))


def _item(place: HubPlace, note: str = "") -> HubCollectionItem:
    names = [one.name for one in _known(place)]
    return HubCollectionItem(dataset=place.dataset, note=note, known=names, place=place)


def _known(place: HubPlace) -> list[KnownBenchmark]:
    """The well-known benchmarks that a dataset holds, unless a part of it is asked for."""
    return [
        one
        for one in hub_packs.known()
        if one.dataset.casefold() == place.dataset.casefold()
        and place.config in ("", one.config)
        and place.split in ("", one.split)
    ]


def _checked(found: HubCollection) -> HubCollection:
    if len(found.items) > MOST_DATASETS:
        raise InvalidInput(
            f"That is {len(found.items)} things; {MOST_DATASETS} can be added at once.",
            "Give the ids of those you want.",
        )
    return found
