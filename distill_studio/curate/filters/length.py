"""Answers that are too short, too long, or were cut off by the token limit."""

from typing import Literal

from distill_studio.core.words import words
from distill_studio.curate.filters.base import (
    Answer,
    Filter,
    FilterConfig,
    Group,
    Limit,
    Measured,
    faults,
    setting,
)


class LengthConfig(FilterConfig):
    """Limits on the length of an answer. 0 sets no upper limit."""

    kind: Literal["length"] = "length"
    min_words: int = setting(1, "Fewest words", ge=0)
    max_words: int = setting(0, "Most words, 0 = any", ge=0)
    min_characters: int = setting(1, "Fewest characters", ge=0)
    max_characters: int = setting(20_000, "Most characters, 0 = any", ge=0)
    drop_truncated: bool = setting(True, "Drop answers cut off by the token limit")

    def limits(self) -> tuple[Limit, ...]:
        """Characters, words, and whether the answer was cut off."""
        return (
            Limit(
                "length.characters",
                self.min_characters or None,
                self.max_characters or None,
                "{score:.0f} characters, fewer than {limit:.0f}",
                "{score:.0f} characters, more than {limit:.0f}",
            ),
            Limit(
                "length.words",
                self.min_words or None,
                self.max_words or None,
                "{score:.0f} words, fewer than {limit:.0f}",
                "{score:.0f} words, more than {limit:.0f}",
            ),
            Limit(
                "length.truncated",
                maximum=0.0 if self.drop_truncated else None,
                why_high="cut off by the token limit",
            ),
        )


def measure(answer: Answer) -> dict[str, Measured]:
    """Characters, words (`core.words`) and whether the teacher ran out of tokens."""
    return {
        "length.characters": Measured(float(len(answer.text.strip()))),
        "length.words": Measured(float(len(words(answer.text)))),
        **faults({"length.truncated": answer.finish_reason in ("length", "max_tokens")}),
    }


LENGTH = Filter(LengthConfig, "Length", "Too short, too long, or cut off.", 2, measure, Group.FORM)
