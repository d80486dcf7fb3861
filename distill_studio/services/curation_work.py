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
from distill_studio.curate.dedup.clustered import ClusteredSearch
from distill_studio.curate.dedup.recall import estimate
from distill_studio.curate.dedup.search import NearSearch
from distill_studio.curate.dedup.vectors import BlockSource, IntArray, WindowedVectors
from distill_studio.curate.filters import Answer, measure_all, measures_version
from distill_studio.curate.reports import DedupField
from distill_studio.curate.text import (
    KEY_VERSION,
    conversation_text,
    item_key,
    items_hash,
    normalise,
    text_hash,
)
from distill_studio.store import embeddings, filter_scores, text_keys
from distill_studio.store.database import Database, Row

MAX_NEAR_PAIRS = 5_000_000  # per field; beyond, the floor rises (some 100 MB in the store)
AT_ONCE = 500  # rows measured or hashed while a page waits (well under a second)
_BATCH_ROWS = 2000
_BATCH_WINDOWS = 128
_SAVE_PAIRS = 200_000
EXACT_UNITS = 300_000  # compared exactly from the start; some 30 s on two cores
_READ_UNITS = 16_384
_RECALL_SEED = 7


def unhashed_count(db: Database) -> int:
    """Rows and items that `refresh_hashes` would hash."""
    return embeddings.unhashed_count(db, KEY_VERSION) + text_keys.outdated_items(db, KEY_VERSION)


def refresh_few_hashes(db: Database) -> None:
    """Hash new and edited rows where they are few: for what a page waits for."""
    if 0 < unhashed_count(db) <= AT_ONCE:
        refresh_hashes(db)


def refresh_hashes(
    db: Database, cancel: CancelToken | None = None, progress: Progress = no_progress
) -> int:
    """Hash the texts of new and edited rows; returns how many.

    Keys of an older normal form are made anew, those of other datasets and benchmarks too.
    """
    count, after = 0, ""
    total = unhashed_count(db) if progress is not no_progress else 0
    while rows := embeddings.rows_without_hashes(db, KEY_VERSION, _BATCH_ROWS, after):
        if cancel is not None:
            cancel.raise_if_cancelled()
        embeddings.save_hashes(db, KEY_VERSION, [_hashes(row) for row in rows])
        after = _next(rows)
        count += len(rows)
        progress(count, max(total, count), "hashing")
    _refresh_items(db, cancel)
    return count


def _next(rows: Sequence[Row]) -> str:
    """From where the next batch is: from the last row on, so that it does not look through all
    that are done; after a batch that is not full from the beginning, for what was edited meanwhile.
    """
    return str(rows[-1]["pair_id"]) if len(rows) == _BATCH_ROWS else ""


def _refresh_items(db: Database, cancel: CancelToken | None) -> None:
    while rows := text_keys.reference_items(db, KEY_VERSION, _BATCH_ROWS):
        if cancel is not None:
            cancel.raise_if_cancelled()
        text_keys.save_reference_keys(db, KEY_VERSION, [row | _keys(row) for row in rows])
    refresh_leak_items(db, cancel)


def refresh_leak_items(db: Database, cancel: CancelToken | None = None) -> None:
    """Key the items of benchmarks; verdicts and opinions on the same item go along."""
    while rows := text_keys.leak_items(db, KEY_VERSION, _BATCH_ROWS):
        if cancel is not None:
            cancel.raise_if_cancelled()
        with db.write():
            text_keys.save_leak_keys(db, KEY_VERSION, [row | _item_keys(row) for row in rows])
            for pack in {row["owner"] for row in rows}:
                content = items_hash(text_keys.item_keys(db, pack))
                text_keys.save_content_hash(db, pack, content)


def _keys(row: Row) -> Row:
    return {
        "prompt_key": text_hash(normalise(row["prompt"])),
        "answer_key": text_hash(normalise(row["answer"])),
    }


def _item_keys(row: Row) -> Row:
    texts = row["prompt"], row["answer"]
    return {"item_key": item_key(*texts), "former_key": item_key(*texts, is_former=True)}


def measure_rows(
    db: Database, progress: Progress = no_progress, cancel: CancelToken | None = None
) -> int:
    """Measure new and edited rows with every filter; returns how many."""
    version = measures_version()
    total = filter_scores.unmeasured_count(db, version)
    done, after = 0, ""
    while rows := filter_scores.rows_to_measure(db, version, _BATCH_ROWS, after):
        if cancel is not None:
            cancel.raise_if_cancelled()
        after = _next(rows)
        scores = [score for row in rows for score in _scores(row)]
        filter_scores.save_scores(db, version, rows, scores)
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
    return _embed_all(db, embedder, missing, progress, cancel)


def embed_some(
    db: Database,
    embedder: Embedder,
    texts: Sequence[tuple[str, str, str]],
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> int:
    """Embed those of some texts (hash, id of a pair, side) that have no vectors; how many."""
    hashes = [digest for digest, _, _ in texts]
    known = embeddings.hashes_with_vectors(db, embedder.model, embedder.dim, hashes)
    missing = [text for text in texts if text[0] not in known]
    return _embed_all(db, embedder, missing, progress, cancel)


def _embed_all(
    db: Database,
    embedder: Embedder,
    missing: Sequence[tuple[str, str, str]],
    progress: Progress,
    cancel: CancelToken | None,
) -> int:
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
    """Compare new units with all others; returns how many near pairs are stored in all.

    Exactly, or by clusters where there are very many; then the store says what share is found.
    """
    model, dim = embedder.model, embedder.dim
    total = embeddings.add_units(db, model, dim, field)
    state = embeddings.begin_search(db, model, dim, field, floor)
    generation, known = int(state["generation"]), int(state["searched_to"])
    is_unmeasured = state["recall_pairs"] == 0  # a search by clusters was stopped

    def read(start: int, stop: int) -> tuple[WindowedVectors, ...]:
        sides = embeddings.unit_vectors(db, model, dim, field, start, stop)
        return tuple(WindowedVectors.stack(rows, counts) for rows, counts in sides)

    by_clusters: ClusteredSearch | None = None
    if is_unmeasured or is_large(total, known):
        source = BlockSource(total, read, block=_READ_UNITS, cache_bytes=0)
        by_clusters = ClusteredSearch(source, state["floor"], known=known)
        embeddings.save_recall(db, model, field, generation, 1.0, (0.0, 1.0), 0)
        by_clusters.prepare(progress, cancel)
    search = by_clusters or NearSearch(BlockSource(total, read), state["floor"], known=known)
    pending = _Pending(db, model, field, generation)
    for found in search.run(cancel):
        if len(found.a):
            pending.add(found.a, found.b, found.similarity)
        if found.done_to > known or pending.size >= _SAVE_PAIRS:
            known = max(known, found.done_to)
            search.floor = pending.save(known, search.floor)
            progress(known, total, "comparing")
    pending.save(total, search.floor)
    if by_clusters is not None:
        progress(total, total, "measuring what was found")
        _measure_recall(db, model, field, generation, by_clusters, cancel)
    if not embeddings.finish_search(db, model, field, generation):
        return find_near(db, embedder, field, floor, progress, cancel)  # new units are left to it
    progress(total, total, "comparing")
    return embeddings.near_pair_count(db, model, field, generation)


def is_large(total: int, known: int) -> bool:
    """Whether comparing units from `known` on with all older ones is too much to do exactly.

    A few new units are compared exactly even with a million stored ones.
    """
    return total**2 - known**2 > EXACT_UNITS**2


def _measure_recall(
    db: Database,
    model: str,
    field: DedupField,
    generation: int,
    search: ClusteredSearch,
    cancel: CancelToken | None,
) -> None:
    """Store what share of the near pairs of a random sample of units is in the store."""
    a, b = search.sampled(_RECALL_SEED, cancel)
    stored_a, stored_b = embeddings.pairs_of_units(db, model, field, generation, np.unique(b))
    found = np.isin(pair_keys(a, b), pair_keys(stored_a, stored_b))
    recall = estimate(found, b)
    interval = recall.low, recall.high
    embeddings.save_recall(db, model, field, generation, recall.share, interval, recall.pairs)


def pair_keys(a: IntArray, b: IntArray) -> IntArray:
    """(P,) one number for each pair of units."""
    return np.asarray(b << 32 | a, dtype=np.int64)


class _Pending:
    """Near pairs on their way to the store."""

    def __init__(self, db: Database, model: str, field: DedupField, generation: int) -> None:
        self._db, self._of = db, (model, field, generation)
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
        embeddings.save_near_pairs(self._db, *self._of, (a, b, similarity), searched_to)
        had_pairs = self.size > 0
        self._parts, self.size = [], 0
        while (
            had_pairs
            and floor < 1.0
            and embeddings.near_pair_count(self._db, *self._of) > MAX_NEAR_PAIRS
        ):
            floor = embeddings.raise_floor(self._db, *self._of)
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
        **_keys({"prompt": prompt, "answer": answer}),
    }


def _scores(row: Row) -> list[Row]:
    provenance = json.loads(row["provenance"])
    turns = [message.content for message in messages_of(row)]
    context = "\n\n".join([*turns, row["reasoning"]])
    answer = Answer(row["answer"], row["finish_reason"], row["prompt"], context, provenance)
    measured = measure_all(answer)
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
