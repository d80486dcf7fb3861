"""Continuous batching over a transformers causal model, on a thread of its own.

Sequences join the running batch when there is room and leave it when they end, so that a short
answer never waits for a long one and a page can stream while a job generates. Prompts are padded
on the left and read in chunks, so that a cancel is noticed within a chunk. Start at
`Engine.submit`; `teachers.local` is what the app uses.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from distill_studio.teachers.answer_text import AnswerText
from distill_studio.teachers.sampling import RowSampler, next_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

_IDLE_S = 2.0  # the thread ends after so long without work
STOPPED = "stopped"


@dataclass(eq=False)
class Answer:
    """One sequence, from its prompt to its end. Written by the engine's thread only.

    Attributes:
        on_piece: Called with each certain piece of text.
        on_end: Called once, last.
        is_unwanted: Asked before each step; True drops the sequence.
        finish_reason: stop, length, or `STOPPED` when it was dropped.
        error: The failure, when there is one.
    """

    prompt_ids: list[int]
    max_tokens: int
    sampler: RowSampler
    text: AnswerText
    on_piece: Callable[[str], None]
    on_end: Callable[[Answer], None]
    is_unwanted: Callable[[], bool]
    is_urgent: bool = False
    pieces: list[str] = field(default_factory=list)
    tokens: int = 0
    finish_reason: str = ""
    error: str = ""
    submitted_at: float = field(default_factory=time.perf_counter)
    latency_s: float = 0.0

    def add(self, piece: str) -> None:
        """Keep and report a piece."""
        if piece:
            self.pieces.append(piece)
            self.on_piece(piece)

    def end(self, reason: str, error: str = "") -> None:
        """Report the end."""
        if not error:
            self.add(self.text.finish())
        self.finish_reason, self.error = reason, error
        self.latency_s = time.perf_counter() - self.submitted_at
        self.on_end(self)


@dataclass
class Batch:
    """Rows that run together: same cached length, padded on the left (mask 0)."""

    answers: list[Answer]
    cache: DynamicCache
    mask_BT: torch.Tensor
    last_tokens: list[int]

    @property
    def length(self) -> int:
        """Cached positions, padding included."""
        return int(self.mask_BT.shape[1])


@dataclass
class Reading:
    """Prompts being read, chunk by chunk."""

    answers: list[Answer]
    ids_BT: torch.Tensor
    mask_BT: torch.Tensor
    cache: DynamicCache
    done: int = 0


class Engine:
    """Runs one model.

    Args:
        model: In eval mode, on its device.
        end_ids: Tokens that end an answer.
        chunk_tokens: Tokens read in one step, about half a second's worth.
        max_rows: Rows in the batch at most.
        max_cached_tokens: Rows x length of the cache at most.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        end_ids: set[int],
        *,
        chunk_tokens: int = 1024,
        max_rows: int = 32,
        max_cached_tokens: int = 65536,
    ) -> None:
        self.model = model
        self.end_ids = end_ids
        self.chunk_tokens = chunk_tokens
        self.max_rows = max_rows
        self.max_cached_tokens = max_cached_tokens
        self._keeps_last = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._waiting: list[Answer] = []
        self._reading: Reading | None = None
        self._batch: Batch | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._wake = threading.Condition()

    @property
    def is_busy(self) -> bool:
        """True while any sequence waits or runs."""
        return bool(self._waiting or self._reading or self._batch)

    def submit(self, answers: Sequence[Answer]) -> None:
        """Queue sequences; their callbacks are called from the engine's thread."""
        with self._wake:
            self._waiting.extend(answers)
            self._waiting.sort(key=lambda a: (not a.is_urgent, len(a.prompt_ids)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
                self._thread.start()
            self._wake.notify()

    def close(self) -> None:
        """Drop all sequences and end the thread."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=30)

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while self._has_work():
                    self._turn()
        finally:  # whatever happens, nobody waits for ever
            self._fail_all("The model's thread ended unexpectedly.")
            with self._wake:
                self._thread = None

    def _has_work(self) -> bool:
        with self._wake:
            if not self.is_busy and not self._is_closed:
                self._wake.wait(_IDLE_S)
            if self.is_busy and not self._is_closed:
                return True
            self._thread = None  # under the lock: a submit after this starts a new thread
            return False

    def _turn(self) -> None:
        try:
            self._drop_unwanted()
            self._read_some()
            if self._batch is not None:
                self._write_one()
        except (RuntimeError, ValueError, IndexError, TypeError, KeyError) as err:
            logger.exception("a step of the model failed")
            self._fail_all(f"The model failed: {type(err).__name__}: {err}"[:500])

    def _fail_all(self, error: str) -> None:
        with self._wake:
            lost, self._waiting = self._waiting, []
        lost += self._reading.answers if self._reading else []
        lost += self._batch.answers if self._batch else []
        self._reading = self._batch = None
        for answer in lost:
            answer.end(STOPPED, error)

    def _drop_unwanted(self) -> None:
        with self._wake:
            gone = [a for a in self._waiting if a.is_unwanted()]
            self._waiting = [a for a in self._waiting if a not in gone]
        for answer in gone:
            answer.end(STOPPED)
        if self._reading and all(a.is_unwanted() for a in self._reading.answers):
            for answer in self._reading.answers:
                answer.end(STOPPED)
            self._reading = None
        if self._batch:
            unwanted = {i for i, a in enumerate(self._batch.answers) if a.is_unwanted()}
            for i in unwanted:
                self._batch.answers[i].end(STOPPED)
            self._keep_rows([i for i in range(len(self._batch.answers)) if i not in unwanted])

    # -- reading prompts ------------------------------------------------------------------

    def _read_some(self) -> None:
        if self._reading is None:
            group = self._next_group()
            if not group:
                return
            self._reading = self._start_reading(group)
        reading = self._reading
        width = max(1, self.chunk_tokens // len(reading.answers))
        end = min(reading.ids_BT.shape[1], reading.done + width)
        logits_BV = self._forward(
            reading.ids_BT[:, reading.done : end], reading.mask_BT[:, :end], reading.cache
        )
        reading.done = end
        if end == reading.ids_BT.shape[1]:
            self._reading = None
            self._join(Batch(reading.answers, reading.cache, reading.mask_BT, []), logits_BV)

    def _next_group(self) -> list[Answer]:
        """Waiting prompts that fit: in the batch together, and in one chunk unless alone."""
        running = len(self._batch.answers) if self._batch else 0
        length = self._batch.length if self._batch else 0
        if running and not self._can_join():
            return []
        group: list[Answer] = []
        with self._wake:
            for answer in self._waiting:
                widest = max(len(a.prompt_ids) for a in [*group, answer])
                rows = len(group) + 1
                cached = (running + rows) * (max(length, widest) + answer.max_tokens // 2)
                fits = running + rows <= self.max_rows and cached <= self.max_cached_tokens
                if group and rows * widest > self.chunk_tokens:
                    break
                if not fits and (running or group):
                    break
                group.append(answer)
            self._waiting = self._waiting[len(group) :]
        return group

    def _can_join(self) -> bool:
        layers = self._batch.cache.layers if self._batch else []
        return all(type(layer) is DynamicLayer for layer in layers)

    def _start_reading(self, group: list[Answer]) -> Reading:
        width = max(len(a.prompt_ids) for a in group)
        ids_BT = torch.zeros((len(group), width), dtype=torch.long)
        mask_BT = torch.zeros((len(group), width), dtype=torch.long)
        for i, answer in enumerate(group):
            count = len(answer.prompt_ids)
            ids_BT[i, width - count :] = torch.tensor(answer.prompt_ids)
            mask_BT[i, width - count :] = 1
        device = self.model.device
        cache = DynamicCache(config=self.model.config)
        return Reading(group, ids_BT.to(device), mask_BT.to(device), cache)

    def _join(self, new: Batch, logits_BV: torch.Tensor) -> None:
        new.last_tokens = next_tokens(logits_BV, [a.sampler for a in new.answers])
        old = self._batch
        if old is None:
            self._batch = new
            first = 0
        else:
            first = len(old.answers)
            width = max(old.length, new.length)
            for mine, theirs in zip(old.cache.layers, new.cache.layers, strict=True):
                mine.keys = torch.cat([_pad(mine.keys, width), _pad(theirs.keys, width)])
                mine.values = torch.cat([_pad(mine.values, width), _pad(theirs.values, width)])
            old.mask_BT = torch.cat([_pad_mask(old.mask_BT, width), _pad_mask(new.mask_BT, width)])
            old.answers += new.answers
            old.last_tokens += new.last_tokens
        self._note_tokens(first)

    # -- writing answers ------------------------------------------------------------------

    def _write_one(self) -> None:
        batch = self._batch
        if batch is None:
            return
        device = batch.mask_BT.device
        ids_B1 = torch.tensor(batch.last_tokens, device=device)[:, None]
        batch.mask_BT = torch.cat([batch.mask_BT, torch.ones_like(ids_B1)], dim=1)
        logits_BV = self._forward(ids_B1, batch.mask_BT, batch.cache)
        batch.last_tokens = next_tokens(logits_BV, [a.sampler for a in batch.answers])
        self._note_tokens(0)

    def _forward(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        """Logits after the last token of each row; `mask_BT` covers cached and new tokens."""
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :]
        wanted = {"logits_to_keep": 1} if self._keeps_last else {}
        output = self.model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
            **wanted,
        )
        last_BV: torch.Tensor = output.logits[:, -1]
        return last_BV

    def _note_tokens(self, first: int) -> None:
        """Take the newest token of the rows from `first` on; rows that end leave."""
        batch = self._batch
        if batch is None:
            return
        stay = list(range(first))
        for i in range(first, len(batch.answers)):
            if not self._note(batch.answers[i], batch.last_tokens[i]):
                stay.append(i)
        self._keep_rows(stay)

    def _note(self, answer: Answer, token: int) -> bool:
        """True when this token ended the answer."""
        answer.tokens += 1
        if token in self.end_ids:
            answer.end("stop")
            return True
        answer.add(answer.text.push(token))
        if answer.text.is_stopped:
            answer.end("stop")
        elif answer.tokens >= answer.max_tokens:
            answer.end("length")
        else:
            return False
        return True

    def _keep_rows(self, rows: list[int]) -> None:
        batch = self._batch
        if batch is None or len(rows) == len(batch.answers):
            return
        if not rows:
            self._batch = None
            return
        index_B = torch.tensor(rows, device=batch.mask_BT.device)
        batch.cache.batch_select_indices(index_B)
        batch.mask_BT = batch.mask_BT[index_B]
        batch.answers = [batch.answers[i] for i in rows]
        batch.last_tokens = [batch.last_tokens[i] for i in rows]
        self._trim()

    def _trim(self) -> None:
        """Drop the columns that are padding in every row."""
        batch = self._batch
        if batch is None or not self._can_join():
            return
        spare = int(batch.mask_BT.any(0).long().argmax())
        if spare:
            batch.mask_BT = batch.mask_BT[:, spare:]
            for layer in batch.cache.layers:
                layer.keys = layer.keys[:, :, spare:]
                layer.values = layer.values[:, :, spare:]


def _pad(cached_BHTD: torch.Tensor, width: int) -> torch.Tensor:
    missing = width - cached_BHTD.shape[2]
    return torch.nn.functional.pad(cached_BHTD, (0, 0, missing, 0)) if missing else cached_BHTD


def _pad_mask(mask_BT: torch.Tensor, width: int) -> torch.Tensor:
    missing = width - mask_BT.shape[1]
    return torch.nn.functional.pad(mask_BT, (missing, 0)) if missing else mask_BT
