"""The long work of comparing with other datasets: reading them, embedding, comparing.

Each function does only what is missing and commits as it goes, so that a stopped job loses a batch
at most. `references` calls them from its jobs.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import Embedder
from distill_studio.curate.dedup.reference import most_alike
from distill_studio.curate.dedup.vectors import IntArray, WindowedVectors
from distill_studio.curate.reports import DedupField
from distill_studio.curate.text import KEY_VERSION, conversation_text, normalise, text_hash
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.seeds.rows import Draft
from distill_studio.services import curation_work
from distill_studio.services.curation_work import messages_of
from distill_studio.services.item_files import MAX_ITEMS, ReadItems, read_items
from distill_studio.services.leak_work import embed_by_hash
from distill_studio.store import embeddings, leaks, references
from distill_studio.store.database import Database, Row

_UNITS_AT_ONCE = 2048
_SIDES: dict[DedupField, tuple[str, ...]] = {
    "prompt": ("prompt",),
    "answer": ("answer",),
    "both": ("prompt", "answer"),
}


_TOO_MANY = (
    f"A dataset to compare with may have {MAX_ITEMS:,} rows; this one has more.",
    "Give a part of it.",
)


def read_file(path: Path, mapping: ColumnMapping | None) -> ReadItems:
    """Every prompt of a file with each of its answers.

    Raises:
        InvalidInput: See `read_items`.
    """
    nothing = "There is no row in this file."
    return read_items(path, mapping, _items, too_many=_TOO_MANY, nothing=nothing)


def read_store(rows: Iterable[Row]) -> ReadItems:
    """Rows of another workspace (`messages` as JSON, `answer`).

    Raises:
        InvalidInput: There are too many.
    """
    found = ReadItems()
    for number, row in enumerate(rows):
        found.add(_item(number, conversation_text(messages_of(row)), row["answer"]), _TOO_MANY)
    return found


def _items(number: int, draft: Draft) -> list[Row]:
    prompt = conversation_text(draft.messages)
    answers = [one.text for one in draft.answers] or [draft.reference or ""]
    return [_item(number + k, prompt, answer) for k, answer in enumerate(answers)]


def _item(number: int, prompt: str, answer: str) -> Row:
    return {
        "number": number,
        "prompt": prompt,
        "answer": answer,
        "prompt_hash": text_hash(prompt),
        "answer_hash": text_hash(answer),
        "prompt_key": text_hash(normalise(prompt)),
        "answer_key": text_hash(normalise(answer)),
        "version": KEY_VERSION,
    }


def compare(
    db: Database,
    embedder: Embedder,
    reference: Row,
    field_: DedupField,
    floor: float,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> int:
    """Compare the texts of rows that were not compared with a set yet; returns how many."""
    curation_work.embed_texts(db, embedder, field_, progress, cancel)
    total = embeddings.add_units(db, embedder.model, embedder.dim, field_)
    items = references.items(db, reference["id"])
    for side in _SIDES[field_]:
        texts = {row[f"{side}_hash"]: row[side] for row in items if row[f"{side}_hash"]}
        embed_by_hash(db, embedder, texts, progress, cancel)
    numbers, vectors = _item_vectors(db, embedder, items, field_)
    first = references.begin(db, reference["id"], field_, embedder.model, floor)
    for start in range(first, total, _UNITS_AT_ONCE):
        if cancel is not None:
            cancel.raise_if_cancelled()
        stop = min(start + _UNITS_AT_ONCE, total)
        sides = embeddings.unit_vectors(db, embedder.model, embedder.dim, field_, start, stop)
        texts_ = [WindowedVectors.stack(rows, counts) for rows, counts in sides]
        unit, item, similarity = most_alike(texts_, vectors, floor)
        found = (unit + start, numbers[item], similarity)
        references.save_hits(db, reference["id"], field_, found, stop)
        progress(stop, total, f"comparing with {reference['name']}")
    return total - first


def _item_vectors(
    db: Database, embedder: Embedder, items: Sequence[Row], field_: DedupField
) -> tuple[IntArray, list[WindowedVectors]]:
    """(numbers of the items that have every text of the field, their vectors by side)."""
    sides = [f"{side}_hash" for side in _SIDES[field_]]
    used = [row for row in items if all(row[side] for side in sides)]
    vectors = []
    for side in sides:
        names, rows, counts = leaks.vectors_of(
            db, embedder.model, embedder.dim, sorted({row[side] for row in used})
        )
        place = {name: k for k, name in enumerate(names)}
        ends = np.cumsum(counts)
        at = np.array([place[row[side]] for row in used], np.int64)
        chosen = counts[at]
        step = np.arange(chosen.sum()) - np.repeat(np.cumsum(chosen) - chosen, chosen)
        windows = np.repeat(ends[at] - chosen, chosen) + step
        vectors.append(WindowedVectors.stack(rows[windows], chosen))
    return np.array([row["number"] for row in used], np.int64), vectors
