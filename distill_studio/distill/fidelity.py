"""How nearly a model says what its teacher says, token by token. Start at `FidelityReader`.

Both read the same text after the same prompt. Of each token of the text: KL(teacher || model) over
the ids that both have, whether both find the same token the likeliest in its place, and the
model's loss on the token that stands there. Hidden states of both are projected a tile of tokens
at a time, so that logits of shape (B, T, V) never exist; products and softmax are fp32 whatever
the weights are, so that equal logits by rounding do not decide which token is the likeliest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from distill_studio.distill.head import Head, Projection
from distill_studio.distill.losses.forward_kl import ForwardKl
from distill_studio.distill.losses.softmax import finite_
from distill_studio.distill.losses.tiled import Tile
from distill_studio.distill.signals.online import hidden_states
from distill_studio.teachers.likelihood import (
    MOST_TOKENS,
    Question,
    fitted,
    in_batches,
    weights_of,
)

if TYPE_CHECKING:
    from distill_studio.core.progress import CancelToken
    from distill_studio.core.records import Message
    from distill_studio.teachers.weights import Loaded

_TILE_ELEMENTS = {"cuda": 2**26, "cpu": 2**23, "mps": 2**24}  # of one fp32 array of logits
_LEAST_TOKENS = 16


@dataclass(frozen=True)
class Fidelity:
    """One row, by means over its text's tokens."""

    key: int
    tokens: int
    kl: float  # KL(teacher || model) in nats
    agreement: float  # share of tokens in whose place both find the same one the likeliest
    loss: float  # -log of the model's probability of the token that stands there, in nats
    is_cut: bool


class FidelityReader:
    """Two models with one tokenizer, in this process.

    Args:
        teacher: Whose distribution is the measure, and whose template writes the prompts.
        model: Who is measured; may be the teacher itself.
        used: Ids of the tokenizer; what embeddings have beyond is padding and does not count.

    Raises:
        Unavailable: One of them does not run in this process.
        InvalidInput: An output layer that is not a plain linear layer.
    """

    def __init__(self, teacher: Loaded, model: Loaded, used: int) -> None:
        self._teacher = _Reading(weights_of(teacher))
        is_same = weights_of(teacher) is weights_of(model)
        self._model = self._teacher if is_same else _Reading(weights_of(model))
        self._width = min(used, self._teacher.vocab, self._model.vocab)
        self._chat = teacher.chat
        self._device = teacher.device
        self._most = min(MOST_TOKENS, teacher.chat.context_tokens, model.chat.context_tokens)

    def question(self, key: int, messages: Sequence[Message], text: str) -> Question:
        """A row as token ids; of a long one the text's beginning and the prompt's end."""
        before, ids = self._chat.prompt_ids(messages), self._chat.answer_ids(text)
        return fitted(Question(key, before, [], ids, is_cut=False), self._most)

    def read(
        self, questions: Sequence[Question], cancel: CancelToken | None = None
    ) -> Iterator[list[Fidelity]]:
        """Read in batches of like length, the shortest first; yields after each batch.

        Args:
            questions: With a token of text each, at least.
            cancel: Looked at before each batch.
        """
        for batch in in_batches(questions, self._device):
            if cancel is not None:
                cancel.raise_if_cancelled()
            yield self._read(batch)

    @torch.inference_mode()
    def _read(self, batch: Sequence[Question]) -> list[Fidelity]:
        ids, mask, where_BT = _padded(batch)
        theirs_NH = self._teacher.hidden(ids, mask, where_BT)
        ours_NH = theirs_NH
        if self._model is not self._teacher:
            ours_NH = self._model.hidden(ids, mask, where_BT)
        targets_N = torch.tensor([token for q in batch for token in q.answer])
        size = max(_LEAST_TOKENS, _TILE_ELEMENTS[self._device] // self._model.vocab)
        found = [
            self._tile(theirs_NH[at], ours_NH[at], targets_N[at])
            for start in range(0, len(targets_N), size)
            for at in [slice(start, start + size)]
        ]
        by_row = torch.cat(found, dim=1).split([len(q.answer) for q in batch], dim=1)
        return [
            Fidelity(q.key, len(q.answer), kl, agreement, loss, q.is_cut)
            for q, row in zip(batch, by_row, strict=True)
            for kl, agreement, loss in [row.mean(1).tolist()]
        ]

    def _tile(self, theirs_NH: Tensor, ours_NH: Tensor, targets_N: Tensor) -> Tensor:
        """(3, N) of a stretch of tokens: KL, same likeliest token, loss; float64 on the CPU."""
        teacher_NV = self._teacher.logits(theirs_NH)[:, : self._width]
        log_p_NV = finite_(torch.log_softmax(teacher_NV, 1))
        tile = Tile(self._model.logits(ours_NH), slice(0, len(targets_N)))
        log_q_NV = tile.log_probs(width=self._width)
        kl_N, _ = ForwardKl()(log_q_NV, log_p_NV, wants_gradient=False)
        is_same_N = log_p_NV.argmax(1) == log_q_NV.argmax(1)
        at_N1 = targets_N[:, None].to(log_q_NV.device)
        loss_N = -tile.log_probs().gather(1, at_N1)[:, 0]  # over all its ids, as when training
        return torch.stack([kl_N.cpu().double(), is_same_N.cpu().double(), loss_N.cpu().double()])


class _Reading:
    """A model's hidden states, and its head made ready for many tiles."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        head = Head.of(model).without_gradient()
        self._model, self.vocab = model, head.vocab
        self._device = head.weight_VH.device
        self._projection = Projection(head, head.weight_VH.dtype, self._device)

    def hidden(self, ids_BT: Tensor, mask_BT: Tensor, where_BT: Tensor) -> Tensor:
        batch = {"input_ids": ids_BT, "attention_mask": mask_BT}
        moved = {name: tensor.to(self._device) for name, tensor in batch.items()}
        return hidden_states(self._model, moved, where_BT.to(self._device))

    def logits(self, hidden_NH: Tensor) -> Tensor:
        return self._projection.logits(hidden_NH)


def _padded(batch: Sequence[Question]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and mask, padded on the right, and where the tokens of the texts are predicted."""
    width = max(q.size for q in batch)
    ids_BT, mask_BT = torch.zeros((2, len(batch), width), dtype=torch.long)
    where_BT = torch.zeros((len(batch), width), dtype=torch.bool)
    for i, q in enumerate(batch):
        ids_BT[i, : q.size] = torch.tensor([*q.before, *q.answer])
        mask_BT[i, : q.size] = 1
        where_BT[i, len(q.before) - 1 : q.size - 1] = True
    return ids_BT, mask_BT, where_BT
