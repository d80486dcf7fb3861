"""What most of several answers say (self-consistency, arXiv 2203.11171). Start: `majority`."""

from collections import Counter
from collections.abc import Callable, Sequence

from pydantic import Field

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.records import Record


class Majority(Record):
    """The answer most samples agree on, and how many they are."""

    index: int = Field(description="Place of the first answer that says it.")
    key: str = Field(description="What is said, as the key function gave it.")
    count: int = Field(description="Answers that say it.")
    answered: int = Field(description="Answers that say anything.")
    counts: dict[str, int] = Field(description="Answers by what they say, most frequent first.")

    @property
    def is_clear(self) -> bool:
        """True when no other answer is as frequent."""
        return sum(count == self.count for count in self.counts.values()) == 1


def majority(answers: Sequence[str], key: Callable[[str], str]) -> Majority:
    """The most frequent answer; of equally frequent ones, the one that was given first.

    Args:
        answers: Whole replies, in the order of their samples.
        key: A reply to what it says in the end, the same text for equal answers (for example the
            normalised final answer); '' when it says nothing, which is then not counted.

    Raises:
        Unreadable: No reply says anything.
    """
    said = [key(answer) for answer in answers]
    counts = Counter(one for one in said if one)
    if not counts:
        raise Unreadable("None of the answers holds a final answer, so there is no majority.")
    [(winner, count)] = counts.most_common(1)  # the first one given, of equal counts
    return Majority(
        index=said.index(winner),
        key=winner,
        count=count,
        answered=counts.total(),
        counts=dict(counts.most_common()),
    )
