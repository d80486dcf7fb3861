"""Answers that are too short, too long, or were cut off by the token limit."""

from typing import Literal

from pydantic import Field

from distill_studio.core.words import words
from distill_studio.curate.filters.base import Answer, Filter, FilterConfig, Limit, Measured


class LengthConfig(FilterConfig):
    """Limits on the length of an answer. 0 sets no upper limit."""

    kind: Literal["length"] = "length"
    min_characters: int = Field(default=1, ge=0, description="Fewest characters.")
    max_characters: int = Field(default=20_000, ge=0, description="Most characters; 0 = any.")
    min_words: int = Field(default=1, ge=0, description="Fewest words.")
    max_words: int = Field(default=0, ge=0, description="Most words; 0 = any.")
    drop_truncated: bool = Field(default=True, description="Drop answers cut by the token limit.")

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
        "length.truncated": Measured(float(answer.finish_reason in ("length", "max_tokens"))),
    }


LENGTH = Filter(LengthConfig, "Length", "Too short, too long, or cut off.", 1, measure)
