"""Writes what a vLLM server says of every learned token to a folder: `capture_served(...)`.

The same parts as `capture.capture` writes, so training reads both alike; top-k at temperature 1 is
all that a server gives. Rows are asked for ahead of the part that is being filled, each is kept in
a file of its own as soon as it has come, and a full part takes its rows' files in: whatever stops
a capture, no answered row is asked for again.

Of each place a server tells the logarithms of K probabilities over its whole vocabulary. Ids that
the student does not have (padding of the embedding) are taken out and the rest divided by what is
left, as the projection in this process does; a place that is short of K ids then repeats its first
id with no mass, which changes neither loss nor gradient. The tail is 1 less the head, in float64;
below `_LEAST_TAIL` rounding of the server's float32 is all there would be.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np

from distill_studio.core.errors import TeacherMalformedReply
from distill_studio.distill.data import MASKED, Encoded
from distill_studio.distill.signals.base import PART_ROWS, SignalKey, count_parts, part_path
from distill_studio.distill.signals.cached import TOLERANCE, CachedTeacher
from distill_studio.distill.signals.parts import LOWEST, Columns, as_stored, begin, joined, write
from distill_studio.teachers.prompt_logprobs import Place, Prompt, PromptScorer, Scored

_LEAST_TAIL = 1e-7
_MOST_OVER = 1e-2  # of a sum of rounded probabilities over 1


def capture_served(
    server: PromptScorer,
    rows: Sequence[Encoded],
    folder: Path,
    key: SignalKey,
    *,
    progress: Callable[[int, int], None] = lambda done, of: None,
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Write the parts that are missing.

    Args:
        server: Reads them, as many at once as its configuration says.
        rows: As the trainer will see them.
        folder: For this key alone.
        key: Of a top-k at temperature 1.
        progress: Called with (rows done, rows in all) after each row.
        check_stop: Called several times a second; may raise to stop.

    Raises:
        CacheMismatch: The folder holds a signal of another key.
        TeacherError: A row failed for good; those that came are kept.
    """
    begin(folder, key)
    work = _Work(rows, folder, key)

    async def run() -> None:
        progress(work.done, len(rows))
        try:
            async with aclosing(server.score(work.prompts(), key.k, check_stop)) as replies:
                async for scored in replies:
                    work.keep(scored)
                    progress(work.done, len(rows))
        finally:
            await server.aclose()

    asyncio.run(run())


def ask_again(
    server: PromptScorer, cache: CachedTeacher, rows: Sequence[Encoded], sample: int, seed: int
) -> tuple[float, int | None]:
    """Ask the server again about some rows.

    Returns:
        The largest mean difference of a row, in nats, and the number of the first row that differs
        by more than two kernels of one model may; None where none does.

    Raises:
        TeacherError: It does not answer.
    """
    numbers = np.random.default_rng(seed).permutation(len(rows))[:sample].tolist()
    prompts = [Prompt(n, rows[n].input_ids) for n in numbers if learned_places(rows[n])]

    async def run() -> list[Scored]:
        try:
            return [scored async for scored in server.score(prompts, cache.key.k)]
        finally:
            await server.aclose()

    worst, unlike = 0.0, None
    for scored in asyncio.run(run()):
        gap = _difference(scored, rows[scored.number], cache)
        if gap > TOLERANCE and unlike is None:
            unlike = scored.number
        worst = max(worst, gap)
    return worst, unlike


def learned_places(row: Encoded) -> list[int]:
    """Places of the learned tokens that have something before them."""
    return [i for i, label in enumerate(row.labels) if i and label != MASKED]


def record(places: Sequence[Place], key: SignalKey) -> dict[str, Any]:
    """The columns of a row from what the server says of its learned places.

    Raises:
        TeacherMalformedReply: What it sent are no probabilities.
    """
    width = min(key.k, key.width)
    ids_NK = np.zeros((len(places), width), np.int32)
    log_probs_NK = np.full((len(places), width), LOWEST[key.dtype], np.float64)
    log_tail_N = np.empty(len(places), np.float64)
    covered = 0.0
    for n, place in enumerate(places):
        mine = [(i, value) for i, value in place if i < key.width][:width]
        outside = sum(math.exp(value) for i, value in place if i >= key.width)
        if not mine or outside >= 1.0:
            raise TeacherMalformedReply(
                "The server finds ids likely that the student's tokenizer does not have.",
                "Choose a teacher of the student's family.",
            )
        log_left = math.log1p(-outside)
        values = np.array([value for _, value in mine]) - log_left
        head = float(np.exp(values).sum())
        if head > 1.0 + _MOST_OVER:
            raise TeacherMalformedReply(
                f"The server's probabilities of a token sum to {head:.3f}.",
                "Start it without --logprobs-mode, or with raw_logprobs.",
            )
        ids_NK[n] = mine[0][0]
        ids_NK[n, : len(mine)] = [i for i, _ in mine]
        log_probs_NK[n, : len(mine)] = values
        tail = max(1.0 - head, _LEAST_TAIL)
        log_tail_N[n] = -np.inf if len(mine) == key.width else math.log(tail)
        covered += min(head, 1.0)
    return {
        "covered": covered,
        "ids": ids_NK.ravel(),
        "log_probs": as_stored(log_probs_NK.ravel(), key),
        "log_z": np.zeros(len(places), np.float32),
        "log_tail": log_tail_N.astype(np.float32),
    }


class _Work:
    """What is asked for, and what becomes of the replies."""

    def __init__(self, rows: Sequence[Encoded], folder: Path, key: SignalKey) -> None:
        self._rows = rows
        self._folder = folder
        self._key = key
        self._missing: dict[int, set[int]] = {}  # rows that a part waits for
        self.done = 0

    def prompts(self) -> Iterator[Prompt]:
        """The rows that are missing, in order; those with nothing learned need no question."""
        for part in range(count_parts(len(self._rows))):
            numbers = self._numbers(part)
            if part_path(self._folder, part).exists():
                self.done += len(numbers)
                continue
            lacking = [n for n in numbers if not self._row_path(n).exists()]
            self.done += len(numbers) - len(lacking)
            self._missing[part] = set(lacking)
            for number in lacking:
                row = self._rows[number]
                if learned_places(row):
                    yield Prompt(number, row.input_ids)
                else:
                    self._keep_row(number, [])
            self._close(part)

    def keep(self, scored: Scored) -> None:
        """A reply: the row on disk, and its part when it was the last of it."""
        row = self._rows[scored.number]
        self._keep_row(scored.number, [scored.places[i] for i in learned_places(row)])
        self._close(scored.number // PART_ROWS)

    def _keep_row(self, number: int, places: Sequence[Place]) -> None:
        columns = Columns(self._key)
        columns.add(row=number, tokens=len(places), **record(places, self._key))
        write(columns.table(), self._row_path(number))
        self._missing[number // PART_ROWS].discard(number)
        self.done += 1

    def _close(self, part: int) -> None:
        """Take the rows of a part in when all are there."""
        if self._missing[part] or part_path(self._folder, part).exists():
            return
        paths = [self._row_path(n) for n in self._numbers(part)]
        write(joined(paths), part_path(self._folder, part))
        for path in paths:
            path.unlink()

    def _numbers(self, part: int) -> range:
        return range(part * PART_ROWS, min((part + 1) * PART_ROWS, len(self._rows)))

    def _row_path(self, number: int) -> Path:
        return self._folder / f"row-{number:07d}.parquet"


def _difference(scored: Scored, row: Encoded, cache: CachedTeacher) -> float:
    """Mean difference of a row's stored log-probabilities, weighted by probability; nats."""
    fresh = record([scored.places[i] for i in learned_places(row)], cache.key)
    stored = cache.read([scored.number], 1.0)
    width = stored.ids_NK.shape[1]
    ids_NK = fresh["ids"].reshape(-1, width)
    values_NK = fresh["log_probs"].astype(np.float64).reshape(-1, width)
    if len(ids_NK) != len(stored.ids_NK):
        return math.inf
    total = weights = 0.0
    for n, said in enumerate(zip(ids_NK.tolist(), values_NK.tolist(), strict=True)):
        now = dict(zip(reversed(said[0]), reversed(said[1]), strict=True))  # a repeated id: first
        lowest = min(said[1])
        before = zip(stored.ids_NK[n].tolist(), stored.log_probs_NK[n].tolist(), strict=True)
        for token, value in before:
            weight = math.exp(value)
            total += weight * abs(now.get(token, lowest) - value)
            weights += weight
    return total / max(weights, 1e-9)
