"""A teacher with another tokenizer, asked at each update: rows, batches and its part of the loss.

A row carries, beside the student's tokens, the teacher's and the spans in which both write the
same text (`alignment.py`). The teacher reads the same conversation by its own template.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill_studio.distill.alignment import AlignedRow, make_aligner
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import LogitRun
from distill_studio.distill.data import MASKED, Row
from distill_studio.distill.losses.aligned_term import AlignedTerm
from distill_studio.distill.losses.mask import learned_targets
from distill_studio.distill.losses.unlike import HybridDistance, UldDistance, UnlikeDistance
from distill_studio.distill.pairing import Pairing
from distill_studio.distill.rows import TolerantReader
from distill_studio.distill.shared_vocabulary import shared_ids
from distill_studio.distill.signals.capture import AnyTeacher
from distill_studio.distill.trainers.mapped import ROW
from distill_studio.distill.trainers.setup import Setup, answer_tokens

ACROSS = "across"  # of a batch: what the teacher reads
_IDS, _SPANS = "teacher_ids", "spans"


class AcrossRows:
    """Encodes a row for both models. One that the teacher's template refuses has no spans."""

    def __init__(self, setup: Setup, config: LogitRun) -> None:
        self._setup, self._config = setup, config
        self._align = TolerantReader(
            make_aligner(config, setup.chat),
            lambda refused: setup.say(
                "Rows that the teacher's template refuses teach by their answers alone; the first:"
                f" {refused.error.user_message}"
            ),
        )

    def __call__(self, row: Row) -> dict[str, Any] | None:
        """Fields of a row; None where nothing is learned."""
        found = answer_tokens(self._setup, self._config, row)
        if found is None:
            return None
        aligned = self._align(row) or AlignedRow([], [])
        return found | {_IDS: aligned.teacher_ids, _SPANS: aligned.spans}


class AcrossCollator:
    """Another collator's batch, and under `ACROSS` what the teacher reads, row after row.

    Args:
        collate: Of the student's tokens; tells the numbers of the rows in their order.
    """

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collate = collate

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Tensors: ids and mask (B, T) of the rows with spans, `where` their tokens are predicted,
        `targets` (M,), and the `spans` (G, 4) of an `AlignedTerm`."""
        batch = self._collate(examples)
        by_number = {example[ROW]: example for example in examples}
        rows = [by_number[number] for number in batch[ROW].tolist()]
        batch[ACROSS] = _teacher_batch(rows)
        return batch


def _teacher_batch(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    having = [row for row in rows if row.get(_SPANS)]  # one that cannot be learned lacks them
    shape = (len(having), max((len(row[_IDS]) for row in having), default=0))
    ids_BT, mask_BT = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    where_BT = torch.zeros(shape, dtype=torch.bool)
    spans: list[list[int]] = []
    learned = asked = number = 0
    for row in rows:
        if row.get(_SPANS):
            tokens = len(row[_IDS])
            ids_BT[number, :tokens] = torch.tensor(row[_IDS])
            mask_BT[number, :tokens] = 1
            for start, count, first, others in row[_SPANS]:
                where_BT[number, first - 1 : first - 1 + others] = True
                here = learned + start
                spans.append([here, here + count, asked, asked + others])
                asked += others
            number += 1
        learned += sum(label != MASKED for label in row["labels"][1:])
    targets_M = ids_BT.roll(-1, 1)[where_BT]
    spans_G4 = torch.tensor(spans, dtype=torch.long).reshape(-1, 4)
    found = {"input_ids": ids_BT, "attention_mask": mask_BT, "where": where_BT}
    return found | {"targets": targets_M, "spans": spans_G4}


class AcrossSignal:
    """The teacher is asked at each update, of its own tokens.

    Args:
        setup: Of the run.
        config: Its choices.
        teacher: Over its own ids.
        pairing: The two widths.
    """

    def __init__(
        self, setup: Setup, config: LogitRun, teacher: AnyTeacher, pairing: Pairing
    ) -> None:
        assert pairing.teacher_width is not None
        self._teacher = teacher
        self._weight = config.beta
        self._widths = (pairing.width, pairing.teacher_width)
        self._distance: UnlikeDistance = UldDistance()
        if config.across_tokenizers == "hybrid":
            theirs = ChatTokenizer.load(Path(config.teacher.folder))
            shared = shared_ids(setup.chat, theirs)
            self._distance = _hybrid(shared, self._widths, teacher.device)

    def term(self, batch: dict[str, Any], where_BT: Tensor) -> AlignedTerm:
        """A distance at the spans of the batch; without any the teacher is not asked."""
        across = batch[ACROSS]
        read = {name: across[name] for name in ("input_ids", "attention_mask")}
        width, other = self._widths
        asked: Callable[[slice], Tensor] = _never
        if len(across["spans"]):
            asked = self._teacher.read(read, across["where"])
        return AlignedTerm(
            distance=self._distance,
            teacher=asked,
            spans_G4=across["spans"],
            ours_N=learned_targets(batch["labels"]),
            theirs_M=across["targets"],
            width=width,
            teacher_width=other,
            weight=self._weight,
        )


def _hybrid(
    shared: Sequence[tuple[int, int]], widths: tuple[int, int], device: torch.device
) -> HybridDistance:
    used = [(a, b) for a, b in shared if a < widths[0] and b < widths[1]]
    sides = [[pair[side] for pair in used] for side in (0, 1)]
    rest = [sorted(set(range(width)) - set(ids)) for width, ids in zip(widths, sides, strict=True)]
    return HybridDistance(
        *(torch.tensor(ids, dtype=torch.long, device=device) for ids in (*sides, *rest))
    )


def _never(_: slice) -> Tensor:
    raise AssertionError("no span, and still the teacher is asked")
