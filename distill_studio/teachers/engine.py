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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from distill_studio.teachers.answer import DROPPED, FAILED, Answer
from distill_studio.teachers.kv_cache import growing_layers, new_cache
from distill_studio.teachers.sampling import likeliest, next_tokens

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

logger = logging.getLogger(__name__)

_CHUNK_S = 0.4
_CHUNK_RANGE = (64, 16384)
_URGENT_ROWS = 8  # seats kept for streams when the batch is full
_IDLE_S = 2.0  # the thread ends after so long without work


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
        chunk_tokens: Tokens read in one step at first; it then follows the machine's speed.
        max_rows: Rows in the batch at most.
        max_cached_tokens: Rows x length of the cache at most.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        end_ids: set[int],
        *,
        chunk_tokens: int = 256,
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
        is_idle = False
        try:
            with torch.inference_mode():
                while self._has_work():
                    self._turn()
            is_idle = not self._is_closed
        finally:
            if not is_idle:  # whatever happened, nobody waits for ever
                self._fail_all("The model was unloaded or its thread ended.")
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
            answer.end(FAILED, error)

    def _drop_unwanted(self) -> None:
        with self._wake:
            gone = {a for a in self._waiting if a.is_unwanted()}
            self._waiting = [a for a in self._waiting if a not in gone]
        for answer in gone:
            answer.end(DROPPED)
        if self._reading and all(a.is_unwanted() for a in self._reading.answers):
            for answer in self._reading.answers:
                answer.end(DROPPED)
            self._reading = None
        if self._batch:
            unwanted = {i for i, a in enumerate(self._batch.answers) if a.is_unwanted()}
            for i in unwanted:
                self._batch.answers[i].end(DROPPED)
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
        start = time.perf_counter()
        logits_BV = self._forward(
            reading.ids_BT[:, reading.done : end], reading.mask_BT[:, :end], reading.cache
        )
        self._follow_speed(time.perf_counter() - start, len(reading.answers) * (end - reading.done))
        reading.done = end
        if end == reading.ids_BT.shape[1]:
            self._reading = None
            self._join(Batch(reading.answers, reading.cache, reading.mask_BT, []), logits_BV)

    def _follow_speed(self, seconds: float, tokens: int) -> None:
        """Keep a chunk at a fraction of a second, so that cancels and streams need not wait."""
        if seconds > 2 * _CHUNK_S:
            self.chunk_tokens = max(_CHUNK_RANGE[0], self.chunk_tokens // 2)
        elif seconds < _CHUNK_S / 2 and tokens > self.chunk_tokens // 2:
            self.chunk_tokens = min(_CHUNK_RANGE[1], self.chunk_tokens * 2)

    def _next_group(self) -> list[Answer]:
        """Waiting prompts that fit: in the batch together, and in one chunk unless alone."""
        running = len(self._batch.answers) if self._batch else 0
        length = self._batch.length if self._batch else 0
        if self._batch and growing_layers(self._batch.cache) is None:
            return []
        group: list[Answer] = []
        with self._wake:
            for answer in self._waiting:
                widest = max(len(a.prompt_ids) for a in [*group, answer])
                rows = len(group) + 1
                cached = (running + rows) * (max(length, widest) + answer.max_tokens // 2)
                extra = _URGENT_ROWS if answer.is_urgent else 0
                fits = running + rows <= self.max_rows + extra and (
                    answer.is_urgent or cached <= self.max_cached_tokens
                )
                if group and rows * widest > self.chunk_tokens:
                    break
                if not fits and (running or group):
                    break
                group.append(answer)
            self._waiting = self._waiting[len(group) :]
        return group

    def _start_reading(self, group: list[Answer]) -> Reading:
        width = max(len(a.prompt_ids) for a in group)
        ids_BT = torch.zeros((len(group), width), dtype=torch.long)
        mask_BT = torch.zeros((len(group), width), dtype=torch.long)
        for i, answer in enumerate(group):
            count = len(answer.prompt_ids)
            ids_BT[i, width - count :] = torch.tensor(answer.prompt_ids)
            mask_BT[i, width - count :] = 1
        device = self.model.device
        return Reading(group, ids_BT.to(device), mask_BT.to(device), new_cache(self.model.config))

    def _join(self, new: Batch, logits_BV: torch.Tensor) -> None:
        new.last_tokens = _choose(new.answers, logits_BV)
        old = self._batch
        if old is None:
            self._batch = new
            first = 0
        else:
            first = len(old.answers)
            width = max(old.length, new.length)
            mine, theirs = growing_layers(old.cache) or [], growing_layers(new.cache) or []
            for layer, joining in zip(mine, theirs, strict=True):
                layer.join(joining)
            old.mask_BT = torch.cat([_pad(old.mask_BT, width), _pad(new.mask_BT, width)])
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
        batch.last_tokens = _choose(batch.answers, logits_BV)
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
        is_over = [
            self._note(a, t)
            for a, t in zip(batch.answers[first:], batch.last_tokens[first:], strict=True)
        ]
        self._keep_rows([*range(first), *(first + i for i, over in enumerate(is_over) if not over)])

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
        batch.mask_BT = batch.mask_BT[index_B]
        layers = growing_layers(batch.cache)
        if layers is None:
            batch.cache.batch_select_indices(index_B)
        else:
            spare = int(batch.mask_BT.any(0).long().argmax())  # padding in every row that stays
            batch.mask_BT = batch.mask_BT[:, spare:]
            for layer in layers:
                layer.keep(index_B, spare)
        batch.answers = [batch.answers[i] for i in rows]
        batch.last_tokens = [batch.last_tokens[i] for i in rows]


def _choose(answers: list[Answer], logits_BV: torch.Tensor) -> list[int]:
    """The next token of each row; rows that asked for log-probabilities get them noted."""
    tokens = next_tokens(logits_BV, [a.sampler for a in answers])
    asking = [i for i, answer in enumerate(answers) if answer.top_logprobs]
    if asking:
        wanted_BV = logits_BV if len(asking) == len(answers) else logits_BV[asking]
        counts = [answers[i].top_logprobs for i in asking]
        noted = likeliest(wanted_BV, [tokens[i] for i in asking], counts)
        for i, choice in zip(asking, noted, strict=True):
            answers[i].choices.append(choice)
    return tokens


def _pad(mask_BT: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(mask_BT, (width - mask_BT.shape[1], 0))
