"""The long work of the search for leaks: reading packs, checking rows, finding candidates.

Each function does only what is missing and commits as it goes, so that a stopped job loses a batch
at most. `leaks` calls them from its jobs.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distill_studio.core.errors import InvalidInput
from distill_studio.core.ids import new_id
from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.core.protocols import Embedder
from distill_studio.core.records import Message
from distill_studio.curate.decontaminate.index import Hit, Item, LeakIndex, RowTexts
from distill_studio.curate.decontaminate.nearest import Nearest, skeleton_overlap
from distill_studio.curate.text import conversation_text, normalise, text_hash
from distill_studio.seeds.columns import ColumnMapping
from distill_studio.seeds.drafts import check_usable, open_file
from distill_studio.seeds.rows import Draft
from distill_studio.services import curation_work
from distill_studio.services.curation_work import messages_of
from distill_studio.store import embeddings, leaks
from distill_studio.store.database import Database, Row

RULES = "leaks-1"  # change it when the rules find other rows: everything is then checked anew
MAX_ITEMS = 200_000
_BATCH_ROWS = 2000
_BLOCK_TEXTS = 20_000
_EMBED_AT_ONCE = 128
_KEPT_PROBLEMS = 20
_IDS = ("task_id", "question_id", "id", "name", "uid")


@dataclass
class ReadPack:
    """The items of a file, as the store takes them, and what could not be read."""

    items: list[Row] = field(default_factory=list)
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def content_hash(self) -> str:
        """The same items in the same order, the same hash."""
        return text_hash("\n".join(row["item_key"] for row in self.items))


def read_pack(path: Path, mapping: ColumnMapping | None) -> ReadPack:
    """The questions and known answers of a benchmark's file.

    Raises:
        InvalidInput: No format that can be read, no column of prompts, nothing in it, too much.
    """
    file = open_file(path, mapping)
    check_usable(file)
    pack = ReadPack()
    for row in file.rows():
        if row.problem:
            pack.problem_count += 1
            if len(pack.problems) < _KEPT_PROBLEMS:
                pack.problems.append(f"Line {row.line}: {row.problem}")
        for draft in row.drafts:
            pack.items.append(_item(len(pack.items), draft))
        if len(pack.items) > MAX_ITEMS:
            raise InvalidInput(
                f"A benchmark may have {MAX_ITEMS:,} items; this file has more.",
                "Is this the training set? Choose the test split.",
            )
    if not pack.items:
        why = f" {pack.problems[0]}" if pack.problems else ""
        raise InvalidInput(f"There is no question in this file.{why}")
    return pack


def check_rows(
    db: Database,
    pack_id: str,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> int:
    """Check new and edited rows against a pack; returns how many."""
    total = leaks.unchecked_count(db, pack_id, RULES)
    if not total:
        return 0
    index = LeakIndex([Item(row["prompt"], row["answer"]) for row in leaks.items(db, pack_id)])
    done = 0
    while rows := leaks.rows_to_check(db, pack_id, RULES, _BATCH_ROWS):
        if cancel is not None:
            cancel.raise_if_cancelled()
        texts = {row["pair_id"]: _texts(row) for row in rows}
        found = [_hit(hit, texts[hit.row]) for hit in index.check(list(texts.values()))]
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
) -> int:
    """Find for each item the `count` nearest prompts of rows; returns how many candidates.

    What the rules found is left out. Prompts and items are embedded first where they are not yet.
    """
    curation_work.embed_texts(db, embedder, "prompt", progress, cancel)
    items = leaks.items(db, pack_id)
    _embed_items(db, embedder, items, progress, cancel)
    names, windows, counts = leaks.vectors_of(
        db, embedder.model, embedder.dim, sorted({row["prompt_hash"] for row in items})
    )
    nearest = Nearest(windows, counts, count, floor)
    for block in leaks.prompt_vectors(db, embedder.model, embedder.dim, _BLOCK_TEXTS):
        if cancel is not None:
            cancel.raise_if_cancelled()
        nearest.add(*block)
    numbers: dict[str, list[Row]] = {}
    for row in items:
        numbers.setdefault(row["prompt_hash"], []).append(row)
    near = nearest.found()
    texts = _prompts(db, {one.text for one in near})
    known = leaks.found_verbatim(db, pack_id)
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
        if one.text in texts and (row["number"], one.text) not in known
    ]
    leaks.save_candidates(db, pack_id, found)
    return len(found)


def _item(number: int, draft: Draft) -> Row:
    prompt = conversation_text(draft.messages)
    answer = draft.answers[0].text if draft.answers else draft.reference or ""
    name = next((str(draft.extra[key]) for key in _IDS if draft.extra.get(key)), "")
    return {
        "number": number,
        "label": f"item {name[:80]}" if name else f"item {number + 1}",
        "prompt": prompt,
        "answer": answer,
        "item_key": text_hash(f"{normalise(prompt)}\n{normalise(answer)}\n"),
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


def _embed_items(
    db: Database,
    embedder: Embedder,
    items: Sequence[Row],
    progress: Progress,
    cancel: CancelToken | None,
) -> None:
    """Embed the questions that have no vectors from this model yet."""
    embeddings.ensure_vectors(db, embedder.dim)
    by_hash = {row["prompt_hash"]: row["prompt"] for row in items if row["prompt_hash"]}
    known, _, _ = leaks.vectors_of(db, embedder.model, embedder.dim, list(by_hash))
    missing = sorted(set(by_hash) - set(known), key=lambda key: (len(by_hash[key]), key))
    for start in range(0, len(missing), _EMBED_AT_ONCE):
        if cancel is not None:
            cancel.raise_if_cancelled()
        progress(start, len(missing), "embedding the benchmark")
        some = missing[start : start + _EMBED_AT_ONCE]
        windows = [embedder.windows(by_hash[key]) for key in some]
        vectors = embedder.embed([window for text in windows for window in text])
        counts = [len(text) for text in windows]
        embeddings.save_vectors(db, embedder.model, some, counts, np.asarray(vectors))


def pack_row(name: str, source: str, user: str, pack: ReadPack) -> Row:
    """The row of a pack that is new."""
    return {
        "id": new_id(),
        "name": name,
        "source": source,
        "content_hash": pack.content_hash,
        "user_name": user,
    }
