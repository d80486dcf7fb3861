"""The long work of the search for leaks: reading packs, checking rows, finding candidates.

Each function does only what is missing and commits as it goes, so that a stopped job loses a batch
at most. `leaks` calls them from its jobs.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill_studio.core.ids import new_id
from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import Embedder
from distill_studio.core.records import Message
from distill_studio.curate.decontaminate.index import Hit, Item, LeakIndex, RowTexts
from distill_studio.curate.decontaminate.nearest import Nearest, skeleton_overlap
from distill_studio.curate.text import conversation_text, item_key, items_hash, text_hash
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.seeds.rows import Draft
from distill_studio.services import curation_work
from distill_studio.services.curation_work import messages_of
from distill_studio.services.item_files import MAX_ITEMS, ReadItems, read_items
from distill_studio.store import embeddings, leaks
from distill_studio.store.database import Database, Row

RULES = "leaks-2"  # change it when the rules find other rows: everything is then checked anew
_BATCH_ROWS = 2000
_BLOCK_TEXTS = 20_000
_EMBED_AT_ONCE = 128
_IDS = ("task_id", "question_id", "id", "name", "uid")


def read_pack(path: Path, mapping: ColumnMapping | None) -> ReadItems:
    """The questions and known answers of a benchmark's file.

    Raises:
        InvalidInput: See `read_items`.
    """
    too_many = (
        f"A benchmark may have {MAX_ITEMS:,} items; this file has more.",
        "Is this the training set? Choose the test split.",
    )
    nothing = "There is no question in this file."
    return read_items(path, mapping, _items, too_many=too_many, nothing=nothing)


def check_rows(
    db: Database,
    pack: Row,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    *,
    own: Collection[str] = (),
) -> int:
    """Check new and edited rows against a pack; returns how many.

    Args:
        db: The store.
        pack: The pack's row.
        progress: Told after each batch.
        cancel: Stops between batches.
        own: Pairs that are the evaluation set itself: what they hold is no find.
    """
    pack_id = pack["id"]
    total = leaks.unchecked_count(db, pack_id, RULES)
    if not total:
        return 0
    items = [Item(row["prompt"], row["answer"]) for row in leaks.items(db, pack_id)]
    index = LeakIndex(items, is_own=pack["kind"] != "benchmark")
    done, after = 0, ""
    while rows := leaks.rows_to_check(db, pack_id, RULES, _BATCH_ROWS, after):
        if cancel is not None:
            cancel.raise_if_cancelled()
        # From the last row on, so that a batch does not look through all checked ones; from the
        # beginning again when that end is reached, for what was edited meanwhile.
        after = rows[-1]["pair_id"] if len(rows) == _BATCH_ROWS else ""
        texts = {row["pair_id"]: _texts(row) for row in rows}
        hits = index.check([text for text in texts.values() if text.id not in own])
        found = [_hit(hit, texts[hit.row]) for hit in hits]
        leaks.save_check(db, pack_id, RULES, rows, found)
        done += len(rows)
        progress(done, max(total, done), "checking")
    return done


def find_candidates(
    db: Database,
    embedder: Embedder,
    pack_id: str,
    count: int,
    floor: float,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    *,
    is_own: bool = False,
) -> int:
    """Find for each item the `count` nearest prompts of rows; returns how many candidates.

    What the rules found is left out, and with `is_own` the prompts of the evaluation set itself.
    Prompts and items are embedded first where they are not yet.
    """
    curation_work.embed_texts(db, embedder, "prompt", progress, cancel)
    items = leaks.items(db, pack_id)
    questions = {row["prompt_hash"]: row["prompt"] for row in items if row["prompt_hash"]}
    embed_by_hash(db, embedder, questions, progress, cancel)
    names, windows, counts = leaks.vectors_of(
        db, embedder.model, embedder.dim, sorted({row["prompt_hash"] for row in items})
    )
    numbers: dict[str, list[Row]] = {}
    for row in items:
        numbers.setdefault(row["prompt_hash"], []).append(row)
    found_already = leaks.found_verbatim(db, pack_id)
    known = _known(names, numbers, found_already, is_own=is_own)
    nearest = Nearest(windows, counts, count, floor, known)
    for block in leaks.prompt_vectors(db, embedder.model, embedder.dim, _BLOCK_TEXTS):
        if cancel is not None:
            cancel.raise_if_cancelled()
        nearest.add(*block)
    near = nearest.found()
    texts = _prompts(db, {one.text for one in near})
    found = [
        {
            "item": row["number"],
            "text_hash": one.text,
            "similarity": one.similarity,
            "rank": one.similarity + skeleton_overlap(row["prompt"], texts[one.text]),
            "model": embedder.model,
        }
        for one in near
        for row in numbers[names[one.item]]
        if one.text in texts and (row["number"], one.text) not in found_already
    ]
    leaks.save_candidates(db, pack_id, found)
    return len(found)


def _known(
    names: Sequence[str],
    numbers: Mapping[str, Sequence[Row]],
    found: Collection[tuple[int, str]],
    *,
    is_own: bool,
) -> Mapping[str, Sequence[int] | slice]:
    """Texts that are no candidates -> places in `names` (prompts of items) they are none for.

    What the rules found of all items with that prompt, and the evaluation set's own prompts.
    """
    by_number: dict[int, set[str]] = {}
    for number, text in found:
        by_number.setdefault(number, set()).add(text)
    known: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        of_items = [by_number.get(row["number"], set()) for row in numbers[name]]
        for text in set.intersection(*of_items):
            known.setdefault(text, []).append(place)
    return {**known, **(dict.fromkeys(names, slice(None)) if is_own else {})}


def _items(number: int, draft: Draft) -> list[Row]:
    answer = draft.answers[0].text if draft.answers else draft.reference or ""
    name = next((str(draft.extra[key]) for key in _IDS if draft.extra.get(key)), "")
    return [item_row(number, conversation_text(draft.messages), answer, name)]


def item_row(number: int, prompt: str, answer: str = "", name: str = "") -> Row:
    """An item as the store takes it; keying it anew carries verdicts under a former key to it."""
    return {
        "number": number,
        "label": f"item {name[:80]}" if name else f"item {number + 1}",
        "prompt": prompt,
        "answer": answer,
        "item_key": item_key(prompt, answer),
        "prompt_hash": text_hash(prompt),
    }


def _texts(row: Row) -> RowTexts:
    turns = tuple(m.content for m in messages_of(row) if m.role != "system")
    return RowTexts(row["pair_id"], turns, row["answer"], row["reasoning"])


def _hit(hit: Hit, texts: RowTexts) -> dict[str, Any]:
    sides = {"prompt": _prompt_of(texts), "answer": texts.answer, "reasoning": texts.reasoning}
    return {
        "pair_id": hit.row,
        "item": hit.item,
        "rule": hit.rule.value,
        "item_side": hit.item_side,
        "row_side": hit.row_side,
        "coverage": hit.coverage,
        "shared": json.dumps(hit.shared, ensure_ascii=False),
        "text_hash": text_hash(sides[hit.row_side]),
    }


def _prompt_of(texts: RowTexts) -> str:
    """The prompt as its hash and its vectors have it."""
    return conversation_text([Message(role="user", content=turn) for turn in texts.turns])


def _prompts(db: Database, hashes: set[str]) -> dict[str, str]:
    found = leaks.prompts_of(db, sorted(hashes))
    return {key: conversation_text(messages_of({"messages": text})) for key, text in found.items()}


def embed_by_hash(
    db: Database,
    embedder: Embedder,
    by_hash: Mapping[str, str],
    progress: Progress,
    cancel: CancelToken | None,
) -> None:
    """Embed texts that no row has (hash -> text), where they have no vectors from this model."""
    embeddings.ensure_vectors(db, embedder.dim)
    known, _, _ = leaks.vectors_of(db, embedder.model, embedder.dim, list(by_hash))
    missing = sorted(set(by_hash) - set(known), key=lambda key: (len(by_hash[key]), key))
    for start in range(0, len(missing), _EMBED_AT_ONCE):
        if cancel is not None:
            cancel.raise_if_cancelled()
        progress(start, len(missing), "embedding what to compare with")
        some = missing[start : start + _EMBED_AT_ONCE]
        windows = [embedder.windows(by_hash[key]) for key in some]
        vectors = embedder.embed([window for text in windows for window in text])
        counts = [len(text) for text in windows]
        embeddings.save_vectors(db, embedder.model, some, counts, np.asarray(vectors))


def content_hash(items: Sequence[Row]) -> str:
    """The same items in the same order, the same hash."""
    return items_hash(row["item_key"] for row in items)


def pack_row(name: str, source: str, user: str, items: Sequence[Row]) -> Row:
    """The row of a pack that is new."""
    return {
        "id": new_id(),
        "name": name,
        "source": source,
        "content_hash": content_hash(items),
        "user_name": user,
    }
