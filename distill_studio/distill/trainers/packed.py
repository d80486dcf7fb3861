"""Packed batches for a trainer, and the measurement that says whether a model can read them.

The installed transformers keep rows of one sequence apart where they are given `position_ids` that
start again with each row and no attention mask: `masking_utils` then makes a block-diagonal mask
for eager and sdpa attention (sliding windows counted within a row), FlashAttention takes the rows'
lengths from them if there is one sequence. Nothing says that a model passes them on, so
`check_packing` asks the model itself.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.data import MASKED
from distill_studio.distill.packing import WAY_OUT, lay
from distill_studio.distill.trainers.mapped import ROW
from distill_studio.distill.trainers.setup import Setup

READ = "tokens_read"  # of a packed batch: its tokens without padding
_CHECKED_TOKENS, _CHECKED_ROWS = 32, 8
# Mean differences of log-probabilities in nats: behind another neighbour, and from rows alone. On
# SmolLM2-135M 0 and 2e-6 in fp32, 0 and 0.09 in bf16; where rows see each other, 2 and 1.8.
_MOST_FP32 = (1e-3, 1e-3)
_MOST_HALF = (0.02, 0.5)

Rows = Sequence[Sequence[int]]


class PackedCollator:
    """Rows of a batch as few long sequences: ids, labels, positions; no attention mask.

    Args:
        pad_id: Fills the ends; such a token is a row of its own and teaches nothing.
        longest: Most tokens of a sequence.
        model: Who will read it; for its width, and for FlashAttention, which wants one sequence.
    """

    def __init__(self, pad_id: int, longest: int, model: Any) -> None:  # noqa: ANN401
        self._pad_id = pad_id
        self._longest = longest
        self._hidden = int(model.config.get_text_config().hidden_size)
        self._is_one = wants_one_sequence(model)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """(S, T) tensors of S sequences; `row` has the numbers of the rows in their new order."""
        lengths = [len(example["input_ids"]) for example in examples]
        sequences = lay(lengths, self._longest, self._hidden)
        if self._is_one:
            sequences = [list(range(len(examples)))]
        batch = as_batch(
            [[examples[n]["input_ids"] for n in sequence] for sequence in sequences],
            [[examples[n]["labels"] for n in sequence] for sequence in sequences],
            self._pad_id,
        )
        batch[READ] = sum(lengths)
        if ROW in examples[0]:
            order = [examples[n][ROW] for sequence in sequences for n in sequence]
            batch[ROW] = torch.tensor(order)
        return batch


def packed_collator(setup: Setup, train: Any, teachers: Sequence[Any] = ()) -> PackedCollator:  # noqa: ANN401
    """The collator of a run that packs, once all models were measured.

    Args:
        setup: Of the run.
        train: Its encoded rows.
        teachers: That read the same batches.

    Raises:
        InvalidInput: A model does not keep packed rows apart.
    """
    rows = train[: min(_CHECKED_ROWS, len(train))]["input_ids"]
    whose = {"student": setup.model}
    whose |= {f"teacher {n + 1}" if n else "teacher": one for n, one in enumerate(teachers)}
    worst = max(check_packing(name, model, rows) for name, model in whose.items())
    setup.say(
        f"Packing: packed rows were read as the same rows alone; log-probabilities differ by"
        f" {worst:.2g} nats on average, which is rounding."
    )
    return PackedCollator(setup.chat.pad_id, setup.config.max_length, setup.model)


def as_batch(ids: Sequence[Rows], labels: Sequence[Rows], pad_id: int) -> dict[str, Any]:
    """Rows by sequence as tensors.

    Positions start at 0 with each row. The first token of a row is never learned: before it stands
    the end of another row, or nothing.
    """
    width = max(sum(map(len, rows)) for rows in ids)
    shape = (len(ids), width)
    ids_ST = torch.full(shape, pad_id)
    labels_ST = torch.full(shape, MASKED)
    positions_ST = torch.zeros(shape, dtype=torch.long)
    for s, (rows, learned) in enumerate(zip(ids, labels, strict=True)):
        at = 0
        for row, label in zip(rows, learned, strict=True):
            end = at + len(row)
            ids_ST[s, at:end] = torch.tensor(row)
            labels_ST[s, at + 1 : end] = torch.tensor(label[1:], dtype=torch.long)
            positions_ST[s, at:end] = torch.arange(len(row))
            at = end
    return {"input_ids": ids_ST, "labels": labels_ST, "position_ids": positions_ST}


def wants_one_sequence(model: Any) -> bool:  # noqa: ANN401
    """True for FlashAttention: it finds the rows only where a batch is one sequence."""
    return "flash" in str(getattr(model.config, "_attn_implementation", ""))


def read_tokens(batch: dict[str, Any]) -> int:
    """Tokens of a batch without padding, packed or not; takes the packed one's count out."""
    packed = batch.pop(READ, None)
    return int(batch["attention_mask"].sum()) if packed is None else int(packed)


def check_packing(whose: str, model: Any, rows: Rows) -> float:  # noqa: ANN401
    """Measure that a model says the same of rows that are packed and of rows that are apart.

    A row is read behind two neighbours of one length, which leaves nothing to rounding: what it
    says may not change. Then packed rows are compared with the same rows alone, which sees wrong
    positions. Returns the second mean difference of log-probabilities.

    Args:
        whose: In words, for the refusal: student, or teacher and its number.
        model: A causal LM on its device.
        rows: Token ids of some rows; the first and the last are used.

    Raises:
        InvalidInput: It does not keep them apart; with the way out.
    """
    usable = [list(row[:_CHECKED_TOKENS]) for row in rows if len(row) > 1] or [[0, 1, 2, 3]]
    first, second = usable[0], usable[-1]
    vocab = int(model.get_input_embeddings().weight.shape[0])
    other = [(token + 1) % vocab for token in first]
    was_training = model.training
    model.eval()
    try:
        one, two = (_log_probs(model, _both_ways(model, left, second)) for left in (first, other))
        parts = [first, second] if wants_one_sequence(model) else [first, second, second, first]
        alone = torch.cat([_log_probs(model, as_batch([[row]], [[row]], 0)) for row in parts])
    finally:
        model.train(was_training)
    own = slice(len(first), len(first) + len(second))
    swayed, away = (float((a - b).abs().mean()) for a, b in ((one[own], two[own]), (one, alone)))
    is_half = next(model.parameters()).dtype != torch.float32
    most_swayed, most_away = _MOST_HALF if is_half else _MOST_FP32
    said = ""
    if not swayed <= most_swayed:
        said = f"what a row says changes by {swayed:.3g} nats on average with its neighbour's words"
    elif not away <= most_away:
        said = f"it differs by {away:.3g} nats on average from what the same rows say alone"
    if said:
        raise InvalidInput(f"The {whose} does not keep packed rows apart: {said}.", WAY_OUT)
    return away


def _both_ways(model: Any, left: list[int], right: list[int]) -> dict[str, Tensor]:  # noqa: ANN401
    sequences = [[left, right]] if wants_one_sequence(model) else [[left, right], [right, left]]
    return as_batch(sequences, sequences, 0)


@torch.no_grad()
def _log_probs(model: Any, batch: dict[str, Tensor]) -> Tensor:  # noqa: ANN401
    """(N, V) of all tokens, sequence after sequence, without padding."""
    ids_ST = batch["input_ids"].to(model.device)
    positions_ST = batch["position_ids"].to(model.device)
    with torch.autocast(ids_ST.device.type, enabled=False):
        out = model(input_ids=ids_ST, position_ids=positions_ST, use_cache=False)
    return torch.log_softmax(out.logits.float().flatten(0, 1), 1).cpu()
