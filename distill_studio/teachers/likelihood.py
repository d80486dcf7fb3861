"""How likely a local model finds an answer: after its question, and without it.

Both losses are means over the same tokens, those of the answer's text (no end of turn). Without
the question, the answer follows the bare beginning of an assistant's turn, so that its first token
is predicted from the same place. Rows are padded on the left, so that answers end together, and
read in chunks with a cache: the memory for logits is bounded whatever the length. Start at
`LikelihoodScorer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from distill_studio.core.errors import Unavailable
from distill_studio.core.progress import CancelToken
from distill_studio.teachers.kv_cache import new_cache

if TYPE_CHECKING:
    from distill_studio.core.records import Message
    from distill_studio.teachers.weights import Loaded

MOST_TOKENS = 2048  # prompt and answer together; of more, the answer's beginning counts
_BATCH_TOKENS = {"cpu": 2048, "mps": 4096, "cuda": 32768}
_MOST_ROWS = 64
_LOGITS_BYTES = {"cpu": 160 << 20, "mps": 256 << 20, "cuda": 2 << 30}


@dataclass(frozen=True)
class Question:
    """A row as token ids: the answer, what stands before it, and what stands before it alone."""

    key: int
    before: list[int]
    alone: list[int]
    answer: list[int]
    is_cut: bool

    @property
    def size(self) -> int:
        """Tokens read with the question."""
        return len(self.before) + len(self.answer)


@dataclass(frozen=True)
class Likelihood:
    """Mean negative log-likelihood per token, in nats."""

    key: int
    tokens: int
    loss_given: float
    loss_alone: float
    is_cut: bool


def weights_of(loaded: Loaded) -> Any:  # noqa: ANN401  (a transformers model)
    """The model itself.

    Raises:
        Unavailable: It does not run in this process.
    """
    model = getattr(loaded.engine, "model", None)
    if model is None:
        raise Unavailable(
            "This model does not run in this process, so its losses cannot be read.",
            "Score on a machine that holds the model itself.",
        )
    return model


def fitted(row: Question, most: int) -> Question:
    """A row of `most` tokens at most: of a long one the answer's beginning and the question's end.

    A quarter of the room is the question's where both are long.
    """
    room = most - len(row.alone)
    kept = row.answer[: max(room - min(len(row.before), room // 4), 1)]
    start = max(0, len(row.before) + len(kept) - most)
    is_cut = len(kept) < len(row.answer) or start > 0
    return Question(row.key, row.before[start:], row.alone, kept, is_cut)


def in_batches(questions: Sequence[Question], device: str) -> Iterator[list[Question]]:
    """Rows of like length together, the shortest first, as many as a device reads at once."""
    most = _BATCH_TOKENS[device]
    batch: list[Question] = []
    for question in sorted(questions, key=lambda q: q.size):
        if batch and ((len(batch) + 1) * question.size > most or len(batch) >= _MOST_ROWS):
            yield batch
            batch = []
        batch.append(question)
    if batch:
        yield batch


class LikelihoodScorer:
    """Scores answers with the weights that a `LocalChatModel` has loaded.

    Raises:
        Unavailable: The model does not run in this process.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._model: Any = weights_of(loaded)
        self.number_format = loaded.dtype
        self._chat = loaded.chat
        self._device = loaded.device
        self._most = min(MOST_TOKENS, loaded.chat.context_tokens)
        self._alone = loaded.chat.answer_start_ids()

    def question(self, key: int, messages: Sequence[Message], answer: str) -> Question:
        """A row as token ids; of a long one the answer's beginning and the question's end."""
        before, ids = self._chat.prompt_ids(messages), self._chat.answer_ids(answer)
        return fitted(Question(key, before, self._alone, ids, is_cut=False), self._most)

    def score(
        self, questions: Sequence[Question], cancel: CancelToken | None = None
    ) -> Iterator[list[Likelihood]]:
        """Score in batches of like length, the shortest first; yields after each batch."""
        for batch in in_batches(questions, self._device):
            given = self._losses([q.before for q in batch], batch, cancel)
            alone = self._losses([q.alone for q in batch], batch, cancel)
            yield [
                Likelihood(q.key, len(q.answer), g / len(q.answer), a / len(q.answer), q.is_cut)
                for q, g, a in zip(batch, given, alone, strict=True)
            ]

    def _losses(
        self, before: Sequence[list[int]], batch: Sequence[Question], cancel: CancelToken | None
    ) -> list[float]:
        """The summed loss of each row's answer tokens after its `before`."""
        rows = [[*start, *q.answer] for start, q in zip(before, batch, strict=True)]
        width = max(map(len, rows))
        ids_BT = torch.zeros((len(rows), width), dtype=torch.long)
        mask_BT = torch.zeros((len(rows), width), dtype=torch.long)
        counted_BT = torch.zeros((len(rows), width), dtype=torch.bool)
        for i, row in enumerate(rows):
            ids_BT[i, width - len(row) :] = torch.tensor(row)
            mask_BT[i, width - len(row) :] = 1
            counted_BT[i, width - len(batch[i].answer) :] = True
        total_B = torch.zeros(len(rows), dtype=torch.float64)
        with torch.inference_mode():
            for start, stop, loss_BT in self._read(ids_BT, mask_BT, cancel):
                counted = counted_BT[:, start + 1 : stop + 1]
                total_B += (loss_BT[:, : counted.shape[1]].double() * counted).sum(1)
        return [float(total) for total in total_B]

    def _read(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, cancel: CancelToken | None
    ) -> Iterator[tuple[int, int, torch.Tensor]]:
        """(start, stop, loss of each token start+1..stop) chunk by chunk."""
        rows, width = ids_BT.shape
        step = self._chunk(rows)
        model, device = self._model, self._model.device
        cache = new_cache(model.config)
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        for start in range(0, width - 1, step):
            if cancel is not None:
                cancel.raise_if_cancelled()
            stop = min(start + step, width - 1)
            output = model(
                input_ids=ids_BT[:, start:stop].to(device),
                attention_mask=mask_BT[:, :stop].to(device),
                position_ids=positions_BT[:, start:stop].to(device),
                past_key_values=cache,
                use_cache=True,
            )
            logits_BTV = output.logits.float()
            wanted_BT1 = ids_BT[:, start + 1 : stop + 1, None].to(device)
            chosen_BT = logits_BTV.gather(-1, wanted_BT1)[..., 0]
            yield start, stop, (logits_BTV.logsumexp(-1) - chosen_BT).cpu()

    def _chunk(self, rows: int) -> int:
        words = int(self._model.config.get_text_config().vocab_size)
        return max(16, int(_LOGITS_BYTES[self._device] // (4 * words * rows)))
