"""Rows of a snapshot as tokens and labels: `encode_sft`, `encode_preference`. Torch-free.

The mask is made here, never by the trainer: an answer's tokens and the token that ends its turn
are learned, everything else (system and user turns, headers, padding) is not. A prompt is
tokenised as a piece of its own, exactly as at inference.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.distill.chat_tokenizer import ChatMessage, ChatTokenizer

MASKED = -100  # torch's ignore_index
Row = dict[str, Any]


@dataclass(frozen=True)
class Encoded:
    """One row for SFT. `labels[i]` is `input_ids[i]` where it is learned, else -100."""

    input_ids: list[int]
    labels: list[int]

    @property
    def learned(self) -> int:
        """Number of learned tokens."""
        return sum(label != MASKED for label in self.labels)


@dataclass(frozen=True)
class EncodedPreference:
    """One row for DPO: a prompt and two answers, each with its end of turn."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def length(self) -> int:
        """Tokens of the longer side."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


def split_path(folder: Path, split: Literal["train", "validation"]) -> Path:
    """Where a snapshot keeps a split."""
    return folder / f"{split}.parquet"


def count_rows(folder: Path, split: Literal["train", "validation"]) -> int:
    """Rows of a split; 0 when the split is missing."""
    path = split_path(folder, split)
    return int(pq.read_metadata(path).num_rows) if path.exists() else 0


def iter_rows(
    folder: Path, split: Literal["train", "validation"], limit: int | None = None
) -> Iterator[Row]:
    """Rows of a split in order, read in batches.

    Raises:
        NotFound: The split is missing.
    """
    path = split_path(folder, split)
    if not path.exists():
        raise NotFound(f"The snapshot has no {path.name}.", "Freeze it again.")
    done = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=1024):
        for row in batch.to_pylist():
            if limit is not None and done >= limit:
                return
            done += 1
            yield row


def encode_sft(
    tokenizer: ChatTokenizer, row: Row, learn: Literal["last", "all"] = "all"
) -> Encoded:
    """Tokens and labels of a `messages` or `prompt_completion` row, uncut.

    Args:
        tokenizer: Of the student.
        row: As frozen.
        learn: Which assistant turns of a `messages` row are learned. A `completion` always is.

    Raises:
        InvalidInput: The template cannot render the row, or renders turns in a way that gives no
            certain mask.
    """
    input_ids: list[int] = []
    labels: list[int] = []
    for context, answer in answer_turns(tokenizer, row, learn):
        context_ids, answer_ids = tokenizer.encode(context), tokenizer.encode(answer)
        answer_ids, after_ids = end_turn(tokenizer, answer_ids)
        input_ids += context_ids + answer_ids + after_ids
        labels += [MASKED] * len(context_ids) + answer_ids + [MASKED] * len(after_ids)
    if not input_ids:
        input_ids = tokenizer.encode(tokenizer.render(_turns(row)[0]))
        labels = [MASKED] * len(input_ids)
    return _without_tail(Encoded(input_ids, labels))


def answer_turns(
    tokenizer: ChatTokenizer, row: Row, learn: Literal["last", "all"] = "all"
) -> Iterator[tuple[str, str]]:
    """(what stands before a learned answer, the answer and what its template writes after it).

    Raises:
        InvalidInput: As `encode_sft`.
    """
    messages, first = _turns(row)
    turns = [i for i, m in enumerate(messages) if m["role"] == "assistant" and i >= first]
    if learn == "last" and "completion" not in row:
        turns = turns[-1:]
    text = ""  # rendered so far
    for turn in turns:
        before = tokenizer.render(messages[:turn], answer_next=True)
        context = before[len(_prefix(text, before)) :]
        text = tokenizer.render(messages[: turn + 1])
        yield context, text[len(_prefix(before, text)) :]


def encode_preference(tokenizer: ChatTokenizer, row: Row) -> EncodedPreference:
    """Tokens of a `preference` row, uncut.

    Raises:
        InvalidInput: As `encode_sft`.
    """
    prompt = _messages(row["prompt"])
    sides = []
    for side in ("chosen", "rejected"):
        encoded = encode_sft(tokenizer, {"prompt": prompt, "completion": _messages(row[side])})
        start = next((i for i, x in enumerate(encoded.labels) if x != MASKED), len(encoded.labels))
        sides.append((encoded.input_ids[:start], encoded.input_ids[start:]))
    return EncodedPreference(sides[0][0], sides[0][1], sides[1][1])


def encode_prompt(tokenizer: ChatTokenizer, row: Row) -> list[int]:
    """Tokens of a row's conversation up to the answer, the assistant's turn opened; [] for none."""
    messages = prompt_messages(row)
    return tokenizer.encode(tokenizer.render(messages, answer_next=True)) if messages else []


def cut(encoded: Encoded, max_length: int) -> Encoded:
    """The first `max_length` tokens."""
    return Encoded(encoded.input_ids[:max_length], encoded.labels[:max_length])


def last_user_text(row: Row) -> str:
    """The last user turn before the answer, for lists."""
    messages = _messages(row["prompt"] if "prompt" in row else row["messages"])
    return next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")


def prompt_messages(row: Row) -> list[ChatMessage]:
    """The conversation up to the last answer."""
    if "prompt" in row:
        return _messages(row["prompt"])
    messages = _messages(row["messages"])
    while messages and messages[-1]["role"] == "assistant":
        messages.pop()
    return messages


def _turns(row: Row) -> tuple[list[ChatMessage], int]:
    """The whole conversation, and the first message that may be learned."""
    if "completion" in row:
        return [*_messages(row["prompt"]), *_messages(row["completion"])], len(row["prompt"])
    return _messages(row["messages"]), 0


def _messages(value: Sequence[Any]) -> list[ChatMessage]:
    return [{"role": m["role"], "content": m["content"] or ""} for m in value]


def _prefix(start: str, text: str) -> str:
    """`start`, checked to begin `text`."""
    if not text.startswith(start):
        raise InvalidInput(
            "The model's chat template renders earlier turns differently once the conversation"
            " goes on, so it is not certain which tokens are the answer.",
            "Learn the last answer only, or freeze the snapshot as prompt and completion.",
        )
    return start


def end_turn(tokenizer: ChatTokenizer, answer_ids: list[int]) -> tuple[list[int], list[int]]:
    """(answer with its end-of-turn token, what the template writes after it)."""
    for i in range(len(answer_ids) - 1, -1, -1):
        if tokenizer.is_special(answer_ids[i]):
            return answer_ids[: i + 1], answer_ids[i + 1 :]
        if tokenizer.decode([answer_ids[i]]).strip():
            break
    return answer_ids, []


def _without_tail(encoded: Encoded) -> Encoded:
    """Without the masked tokens after the last learned one: they would only cost time."""
    end = len(encoded.labels)
    while end and encoded.labels[end - 1] == MASKED:
        end -= 1
    return cut(encoded, end) if end else encoded
