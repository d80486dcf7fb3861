"""A recipe's file in `assets/recipes/`: its texts, options and version, shown and editable."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from distill_studio.core.errors import InvalidInput
from distill_studio.core.ids import content_hash
from distill_studio.core.records import Record

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "recipes"
_FIELD = re.compile(r"\$\{(\w+)\}")
OptionValue = float | str


class PromptText(Record):
    """One text that a recipe sends. `${name}` stands for what the recipe fills in."""

    name: str = Field(description="Key in the recipe.")
    label: str = Field(description="Shown above the text.")
    text: str = Field(description="The text itself.")

    @property
    def fields(self) -> set[str]:
        """The names that are filled in."""
        return fields_of(self.text)


class Option(Record):
    """A setting of one recipe: a number, or one of several words."""

    name: str = Field(description="Key in the recipe.")
    label: str = Field(description="Shown beside the field.")
    info: str = Field(default="", description="A line on what it does.")
    default: OptionValue = Field(description="Unless the user chooses.")
    minimum: float | None = Field(default=None, description="Of a number.")
    maximum: float | None = Field(default=None, description="Of a number.")
    is_whole: bool = Field(default=True, description="A whole number.")
    choices: tuple[str, ...] = Field(default=(), description="The words; empty for a number.")

    def checked(self, value: object) -> OptionValue:
        """The value, if it fits.

        Raises:
            InvalidInput: It does not; says what does.
        """
        if self.choices:
            if value in self.choices:
                return str(value)
            raise InvalidInput(f"{self.label}: choose of {', '.join(self.choices)}.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInput(f"{self.label} must be a number.")
        low, high = self.minimum, self.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            raise InvalidInput(f"{self.label}: {value:g} is outside {low:g} to {high:g}.")
        return int(value) if self.is_whole else float(value)


class Prompts(Record):
    """A recipe's file: its version goes into the provenance of each pair."""

    name: str = Field(description="Key of the recipe.")
    version: str = Field(description="Changes with any text in the file.")
    label: str = Field(description="Shown in the list of recipes.")
    summary: str = Field(description="What it does, in a sentence or two.")
    source: str = Field(default="", description="The paper or model it follows.")
    system_prompt: str = Field(default="", description="Used unless the user gives another.")
    texts: tuple[PromptText, ...] = Field(default=(), description="What else it sends.")
    options: tuple[Option, ...] = Field(default=(), description="Its own settings.")
    has_samples: bool = Field(default=False, description="True where the user chooses how many.")
    samples_label: str = Field(default="Candidates", description="What those are.")
    is_verified: bool = Field(default=False, description="True where only what holds is kept.")
    has_steps: bool = Field(
        default=False, description="True where replies lead to further requests: each is stored."
    )
    needs_judge: bool = Field(default=False, description="True where a model judges.")
    may_judge: bool = Field(
        default=False, description="True where another model may take a part, else the teacher."
    )
    asks_all: bool = Field(
        default=False, description="True where one run over a seed asks every teacher."
    )

    def with_texts(self, edited: Mapping[str, str]) -> "Prompts":
        """The same with other texts; `version` then tells that they differ.

        Raises:
            InvalidInput: A text is unknown, empty, or lacks something to fill in.
        """
        known = {text.name: text for text in self.texts}
        changed = {n: t for n, t in edited.items() if n not in known or known[n].text != t}
        if not changed:
            return self
        for name, words in changed.items():
            if name not in known:
                raise InvalidInput(f"The recipe {self.name} has no text '{name}'.")
            _check_text(known[name], words)
        texts = tuple(
            text.model_copy(update={"text": changed.get(text.name, text.text)})
            for text in self.texts
        )
        digest = content_hash([text.text for text in texts])[:8]
        return self.model_copy(
            update={"texts": texts, "version": f"{self.version}-edited-{digest}"}
        )

    def chosen(self, values: Mapping[str, Any]) -> dict[str, OptionValue]:
        """Every option's value: the given ones checked, the others by default.

        Raises:
            InvalidInput: A value does not fit, or the recipe has no such option.
        """
        names = {option.name for option in self.options}
        for name in values:
            if name not in names:
                raise InvalidInput(f"The recipe {self.name} has no option '{name}'.")
        return {o.name: o.checked(values.get(o.name, o.default)) for o in self.options}


def load_prompts(name: str) -> Prompts:
    """The file `assets/recipes/<name>.json`."""
    text = (ASSETS / f"{name}.json").read_text(encoding="utf-8")
    return Prompts(**json.loads(text))


def fields_of(text: str) -> set[str]:
    """The names that a text asks for."""
    return set(_FIELD.findall(text))


def fill(text: str, **values: object) -> str:
    """The text with each `${name}` replaced; values are taken as they are.

    Raises:
        KeyError: The text asks for a name that is not given.
    """
    return _FIELD.sub(lambda match: str(values[match.group(1)]), text)


def _check_text(shipped: PromptText, words: str) -> None:
    if not words.strip():
        raise InvalidInput(f"The text '{shipped.label}' is empty.")
    given = fields_of(words)
    missing, unknown = sorted(shipped.fields - given), sorted(given - shipped.fields)
    if missing:
        raise InvalidInput(f"The text '{shipped.label}' must hold {_named(missing)}.")
    if unknown:
        raise InvalidInput(
            f"The text '{shipped.label}' asks for {_named(unknown)}, which nothing fills in."
        )


def _named(names: list[str]) -> str:
    return ", ".join(f"${{{name}}}" for name in names)
