"""Input of a generation job: everything that decides what is asked, fixed when it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Record, Seed, UserTurn
from distill_studio.generate.effects import Unit
from distill_studio.generate.prompts import OptionValue, Prompts
from distill_studio.generate.recipes import RECIPES, Recipe, Settings
from distill_studio.generate.recipes.base import Example

# What a dry run need not share, or is compared part by part.
_ASIDE = ("selection", "n", "examples", "sampling", "options")
_WORDS = {
    "version": "the recipe's texts",
    "texts": "the recipe's texts",
    "examples": "number of examples",
    "turns": "chat templates",
    "max_tokens": "longest answer",
    "top_p": "top-p",
    "stop": "stop strings",
    "top_logprobs": "log-probabilities",
}


class GenerationPlan(Record):
    """What is asked of whom. Teachers and examples are names: they may change until it runs."""

    selection: str = Field(default="", description="Id of the fixed list of seeds.")
    teachers: tuple[str, ...] = Field(min_length=1, description="Names of the teachers.")
    recipe: str = Field(description="Key of RECIPES.")
    version: str = Field(default="", description="Of the recipe's texts, for provenance.")
    n: int = Field(default=1, ge=1, description="Answers per seed and teacher, as asked for.")
    sampling: SamplingParams = Field(default=SamplingParams(), description="How to sample.")
    system_prompt: str = Field(default="", description="Put before seeds that have none.")
    texts: dict[str, str] = Field(default_factory=dict, description="The recipe's, where edited.")
    options: dict[str, OptionValue] = Field(default_factory=dict, description="The recipe's.")
    judge: str = Field(default="", description="Name of the teacher that judges.")
    examples: tuple[str, ...] = Field(default=(), description="Ids of pairs shown as examples.")
    turns: dict[str, UserTurn] = Field(
        default_factory=dict, description="Teacher -> its chat template, where it is continued."
    )

    @property
    def recipe_object(self) -> Recipe:
        """The recipe itself."""
        return RECIPES[self.recipe]

    @property
    def prompts(self) -> Prompts:
        """The recipe's file with the texts and the version that the plan was made with.

        What a newer version of the app no longer has is left out; what it has besides is its own.
        """
        shipped = self.recipe_object.prompts
        texts = tuple(
            text.model_copy(update={"text": self.texts.get(text.name, text.text)})
            for text in shipped.texts
        )
        return shipped.model_copy(
            update={"texts": texts, "version": self.version or shipped.version}
        )

    @property
    def chosen(self) -> dict[str, OptionValue]:
        """Every option of the recipe, as it was when the plan was made, else by default."""
        options = self.recipe_object.prompts.options
        return {o.name: self.options.get(o.name, o.default) for o in options}

    @property
    def samples(self) -> int:
        """Runs over each seed and line, as the recipe makes them."""
        return self.recipe_object.samples(self.n)

    @property
    def lines(self) -> tuple[tuple[str, ...], ...]:
        """The teachers of each stream of units: one each, or all in one."""
        if self.prompts.asks_all:
            return (self.teachers,)
        return tuple((name,) for name in self.teachers)

    @property
    def everyone(self) -> tuple[str, ...]:
        """All models that are asked, the judge too."""
        return tuple(dict.fromkeys(name for name in (*self.teachers, self.judge) if name))

    def differences(self, other: GenerationPlan) -> list[str]:
        """In which settings a dry run of the other shows something else; none: it binds this one.

        Seeds, the number of runs, the random seed and which examples are shown may differ.
        """
        found = [
            _WORDS.get(name, name.replace("_", " "))
            for name in GenerationPlan.model_fields
            if name not in _ASIDE and getattr(self, name) != getattr(other, name)
        ]
        found += [
            _WORDS.get(name, name.replace("_", " "))
            for name in SamplingParams.model_fields
            if name != "seed" and getattr(self.sampling, name) != getattr(other.sampling, name)
        ]
        labels = {option.name: option.label for option in self.prompts.options}
        names = dict.fromkeys((*self.options, *other.options))
        found += [
            labels.get(name, name)
            for name in names
            if self.options.get(name) != other.options.get(name)
        ]
        if len(self.examples) != len(other.examples):
            found.append(_WORDS["examples"])
        return list(dict.fromkeys(found))

    def settings(self, examples: Sequence[Example] = ()) -> Settings:
        """What the recipe works by."""
        return Settings(
            sampling=self.sampling,
            system_prompt=self.system_prompt or self.prompts.system_prompt,
            texts={text.name: text.text for text in self.prompts.texts},
            options=self.chosen,
            examples=tuple(examples),
            teachers=self.teachers,
            judge=self.judge,
            turns=self.turns,
        )

    def units_for(self, line: int, seeds: Sequence[Seed]) -> Iterator[Unit]:
        """The units of a line; each line has its own range of sample numbers."""
        teacher = self.lines[line][0]
        for seed in seeds:
            for sample in range(line * self.samples, (line + 1) * self.samples):
                yield Unit(seed, sample, teacher)
