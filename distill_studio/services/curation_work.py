"""The long work of the curate stage: measuring rows, embedding texts, finding near pairs.

Each function does only what is missing and commits as it goes, so a stopped job loses a batch at
most. The service calls them from its jobs.
"""

import json
from collections.abc import Sequence

import numpy as np

from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import Embedder
from distill_studio.core.records import Message
from distill_studio.curate.dedup.search import NearSearch
from distill_studio.curate.dedup.vectors import BlockSource, WindowedVectors
from distill_studio.curate.filters import Answer, measure_all, measures_version
from distill_studio.curate.reports import DedupField
from distill_studio.curate.text import conversation_text, normalise, text_hash
from distill_studio.store import curation, embeddings
from distill_studio.store.database import Database, Row

MAX_NEAR_PAIRS = 5_000_000  # per field; beyond, the floor rises (some 100 MB in the store)
_BATCH_ROWS = 2000
_BATCH_WINDOWS = 128
_SAVE_PAIRS = 200_000


def refresh_hashes(db: Database, cancel: CancelToken | None = None) -> int:
    """Hash the texts of new and edited rows; returns how many."""
    count = 0
    while rows := embeddings.rows_without_hashes(db, _BATCH_ROWS):
        if cancel is not None:
            cancel.raise_if_cancelled()
        embeddings.save_hashes(db, [_hashes(row) for row in rows])
        count += len(rows)
    return count


def measure_rows(
    db: Database, progress: Progress = no_progress, cancel: CancelToken | None = None
) -> int:
    """Measure new and edited rows with every filter; returns how many."""
    version = measures_version()
    total = curation.unmeasured_count(db, version)
    done = 0
    while rows := curation.rows_to_measure(db, version, _BATCH_ROWS):
        if cancel is not None:
            cancel.raise_if_cancelled()
        scores = [score for row in rows for score in _scores(row)]
        curation.save_scores(db, version, rows, scores)
        done += len(rows)
        progress(done, max(total, done), "measuring")
    return done


def embed_texts(
    db: Database,
    embedder: Embedder,
    field: DedupField,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> int:
    """Embed the texts that have no vectors from this model yet; returns how many."""
    refresh_hashes(db, cancel)
    missing = embeddings.texts_without_vectors(db, embedder.model, embedder.dim, field)
    start = 0
    while start < len(missing):
        if cancel is not None:
            cancel.raise_if_cancelled()
        progress(start, len(missing), "embedding")
        start += _embed_batch(db, embedder, missing[start : start + _BATCH_WINDOWS])
    progress(len(missing), len(missing), "embedding")
    return len(missing)


def find_near(
    db: Database,
    embedder: Embedder,
    field: DedupField,
    floor: float,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> int:
    """Compare new units with all others; returns how many near pairs are stored in all."""
    model, dim = embedder.model, embedder.dim
    total = embeddings.add_units(db, model, dim, field)
    state = embeddings.begin_search(db, model, dim, field, floor)
    known = int(state["searched_to"])

    def read(start: int, stop: int) -> tuple[WindowedVectors, ...]:
        sides = embeddings.unit_vectors(db, model, dim, field, start, stop)
        return tuple(WindowedVectors.stack(rows, counts) for rows, counts in sides)

    search = NearSearch(BlockSource(total, read), state["floor"], known=known)
    pending = _Pending(db, model, field)
    for found in search.run(cancel):
        if len(found.a):
            pending.add(found.a, found.b, found.similarity)
        if found.done_to > known or pending.size >= _SAVE_PAIRS:
            known = max(known, found.done_to)
            search.floor = pending.save(known, search.floor)
            progress(known, total, "comparing")
    pending.save(total, search.floor)
    progress(total, total, "comparing")
    return embeddings.near_pair_count(db, model, field)


class _Pending:
    """Near pairs on their way to the store."""

    def __init__(self, db: Database, model: str, field: DedupField) -> None:
        self._db, self._model, self._field = db, model, field
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.size = 0

    def add(self, a: np.ndarray, b: np.ndarray, similarity: np.ndarray) -> None:
        """Keep some pairs until the next `save`."""
        self._parts.append((a, b, similarity))
        self.size += len(a)

    def save(self, searched_to: int, floor: float) -> float:
        """Store what is kept; returns the floor, raised when there are too many pairs."""
        empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        a, b, similarity = (np.concatenate(part) for part in zip(empty, *self._parts, strict=False))
        embeddings.save_near_pairs(
            self._db, self._model, self._field, (a, b, similarity), searched_to
        )
        had_pairs = self.size > 0
        self._parts, self.size = [], 0
        while (
            had_pairs
            and floor < 1.0
            and embeddings.near_pair_count(self._db, self._model, self._field) > MAX_NEAR_PAIRS
        ):
            floor = embeddings.raise_floor(self._db, self._model, self._field)
        return floor


def messages_of(row: Row) -> list[Message]:
    """The conversation in a row's JSON column."""
    return [Message(**m) for m in json.loads(row["messages"])]


def _hashes(row: Row) -> Row:
    prompt, answer = conversation_text(messages_of(row)), row["answer"]
    return {
        "pair_id": row["pair_id"],
        "content_key": row["content_key"],
        "prompt_hash": text_hash(prompt),
        "answer_hash": text_hash(answer),
        "prompt_key": text_hash(normalise(prompt)),
        "answer_key": text_hash(normalise(answer)),
    }


def _scores(row: Row) -> list[Row]:
    measured = measure_all(Answer(row["answer"], row["finish_reason"], row["prompt"]))
    return [
        {"pair_id": row["pair_id"], "measure": name, "score": found.score, "note": found.note}
        for name, found in measured.items()
    ]


def _embed_batch(db: Database, embedder: Embedder, texts: Sequence[tuple[str, str, str]]) -> int:
    """Embed texts from the front until there are enough windows; returns how many texts."""
    rows = embeddings.texts_of(db, [pair_id for _, pair_id, _ in texts])
    hashes: list[str] = []
    windows: list[list[str]] = []
    taken = 0
    for digest, pair_id, side in texts:
        taken += 1
        row = rows[pair_id]
        text = row["answer"] if side == "answer" else conversation_text(messages_of(row))
        if text_hash(text) != digest:  # edited in this moment: the next run sees the new text
            continue
        hashes.append(digest)
        windows.append(embedder.windows(text))
        if sum(map(len, windows)) >= _BATCH_WINDOWS:
            break
    if hashes:
        vectors = embedder.embed([window for text in windows for window in text])
        embeddings.save_vectors(
            db, embedder.model, hashes, [len(text) for text in windows], vectors
        )
    return taken
