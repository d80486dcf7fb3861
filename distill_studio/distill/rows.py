"""Rows of a snapshot as a run reads them: `TolerantReader`. Torch-free.

A row that the chat template refuses is left out, whoever reads it: pre-flight, the training, its
sample answers and the measure of layers. So what pre-flight allows cannot end a run later.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import RunConfig
from distill_studio.distill.data import Row, encode_preference, encode_prompt
from distill_studio.distill.reasoning import encode_answer

T = TypeVar("T")


@dataclass(frozen=True)
class Refused:
    """A row that cannot be read, and why."""

    number: int  # among the rows read, from 0
    row: Row
    error: InvalidInput


class TolerantReader(Generic[T]):
    """Reads rows; those that are refused are counted and the first is kept.

    Args:
        read: Of one row; raises `InvalidInput` where it cannot be read.
        tell: Is given the first refused row.
    """

    def __init__(
        self, read: Callable[[Row], T], tell: Callable[[Refused], None] = lambda _: None
    ) -> None:
        self._read, self._tell = read, tell
        self.seen = 0
        self.refused = 0
        self.first: Refused | None = None

    def __call__(self, row: Row) -> T | None:
        """What `read` makes of a row; None where it is refused."""
        number, self.seen = self.seen, self.seen + 1
        try:
            return self._read(row)
        except InvalidInput as err:
            self.refused += 1
            if self.first is None:
                self.first = Refused(number, row, err)
                self._tell(self.first)
            return None

    def all_of(self, rows: Iterable[Row]) -> Iterator[tuple[Row, T]]:
        """The rows that can be read, each with what `read` makes of it."""
        for row in rows:
            found = self(row)
            if found is not None:
                yield row, found


def read_ids(chat: ChatTokenizer, config: RunConfig, row: Row) -> list[int]:
    """Tokens that the student of a run reads of a row, uncut; of a pair the chosen side.

    Raises:
        InvalidInput: The template refuses the row.
    """
    if config.method == "on_policy":
        return encode_prompt(chat, row)
    if config.data.format == "preference":
        pair = encode_preference(chat, row)
        return pair.prompt_ids + pair.chosen_ids
    return encode_answer(chat, config, row).input_ids
