"""What recipes share: their prompt file, and how a seed becomes a request."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pydantic import Field

from distill_studio.core.ids import content_hash
from distill_studio.core.protocols import ChatRequest, SamplingParams
from distill_studio.core.records import Message, Record, Seed

ASSETS = Path(__file__).resolve().parents[3] / "assets" / "recipes"
_SEED_BITS = 31  # what every server takes as an integer


class Prompts(Record):
    """A recipe's file: its version goes into the provenance of each pair."""

    name: str = Field(description="Key of the recipe.")
    version: str = Field(description="Changes with any text in the file.")
    label: str = Field(description="Shown in the list of recipes.")
    summary: str = Field(description="What it does, in a sentence or two.")
    system_prompt: str = Field(default="", description="Used unless the user gives another.")
    has_samples: bool = Field(default=False, description="True where the user chooses how many.")
    is_verified: bool = Field(default=False, description="True where only what holds is kept.")


@dataclass(frozen=True)
class Ask:
    """One request of a recipe and what it is for."""

    seed: Seed
    step: str
    sample: int
    request: ChatRequest


class Recipe(Protocol):
    """How seeds become teacher requests."""

    prompts: Prompts

    def samples(self, n: int) -> int:
        """Answers that each teacher gives to each seed when the user asks for `n`."""
        ...

    def requests_for(
        self, seed: Seed, sample: int, sampling: SamplingParams, system_prompt: str
    ) -> Sequence[Ask]:
        """The requests, one per recipe step, that make sample number `sample` of a seed."""
        ...


def load_prompts(name: str) -> Prompts:
    """The file `assets/recipes/<name>.json`."""
    text = (ASSETS / f"{name}.json").read_text(encoding="utf-8")
    return Prompts(**json.loads(text))


def answer_ask(seed: Seed, sample: int, sampling: SamplingParams, system_prompt: str) -> Ask:
    """Ask for the next turn of a seed's conversation.

    The system prompt goes first, unless the seed brings one of its own.
    """
    messages = seed.messages
    if system_prompt and messages[0].role != "system":
        messages = (Message(role="system", content=system_prompt), *messages)
    own = sampling.model_copy(update={"seed": sample_seed(seed, sample, sampling.seed or 0)})
    request = ChatRequest(key=f"{seed.id}/answer/{sample}", messages=messages, sampling=own)
    return Ask(seed, "answer", sample, request)


def reseeded(ask: Ask, attempts: int) -> Ask:
    """The same request with other luck: its answers so far did not hold."""
    sampling = ask.request.sampling
    seed = sample_seed(ask.seed, ask.sample, (sampling.seed or 0) + attempts)
    fresh = ask.request.model_copy(update={"sampling": sampling.model_copy(update={"seed": seed})})
    return replace(ask, request=fresh)


def sample_seed(seed: Seed, sample: int, base: int) -> int:
    """The random seed of one request: the same prompt and sample give the same one anywhere."""
    digest = content_hash([base, seed.content_hash, sample])
    return int(digest[:16], 16) % (1 << _SEED_BITS)
