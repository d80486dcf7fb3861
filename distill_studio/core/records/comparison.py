"""A comparison: the same conversation answered by two to four models at once."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from distill_studio.core.ids import new_id
from distill_studio.core.records.base import Record, utc_now
from distill_studio.core.records.seed import Message

TIE = "tie"


class ModelRole(StrEnum):
    """Which part a model plays in a comparison."""

    TEACHER = "teacher"
    BASE = "base"
    STUDENT = "student"


class ModelCard(Record):
    """A model that can be compared, and what is known of it."""

    id: str = Field(description="<role>:<name>, student:run or student:run@40; empty while hidden.")
    label: str = Field(description="Shown to people; 'Model A' while hidden.")
    role: ModelRole | None = Field(default=None, description="Its part; None while hidden.")
    model: str = Field(default="", description="Model id or folder name behind it.")
    step: int | None = Field(
        default=None, description="Of a checkpoint: after which update; None for others."
    )
    parameters: int | None = Field(default=None, description="Number of weights.")
    size_bytes: int | None = Field(default=None, description="Bytes of its weights.")
    dtype: str = Field(default="", description="Number format of the weights, e.g. bfloat16.")
    written_tokens: int = Field(default=0, ge=0, description="Written while it was timed.")
    writing_s: float = Field(default=0.0, ge=0.0, description="How long that took, all together.")


class CostKind(StrEnum):
    """What is known of an answer's cost."""

    NOT_SAID = ""
    FREE = "free"
    KNOWN = "known"
    UNKNOWN = "unknown"


class AnswerStats(Record):
    """How fast, how long and how dear one answer was. Times are in seconds."""

    load_s: float | None = Field(default=None, description="Getting the model ready.")
    first_token_s: float | None = Field(default=None, description="From request to first text.")
    total_s: float | None = Field(default=None, description="From request to the end.")
    tokens: int = Field(default=0, ge=0, description="Written; pieces where not countable.")
    is_exact: bool = Field(default=False, description="Counted by the model's own tokenizer.")
    tokens_per_s: float | None = Field(default=None, description="After the first piece.")
    characters: int = Field(default=0, ge=0, description="Length of the text.")
    prompt_tokens: int | None = Field(default=None, description="Read, as the server counted.")
    billed_tokens: int | None = Field(
        default=None, description="Written, reasoning included, as the server counted."
    )
    cost: CostKind = Field(
        default=CostKind.NOT_SAID, description="free, known, unknown, or '': nothing to say."
    )
    cost_usd: float | None = Field(
        default=None, description="USD; about, where `prompt_tokens` is not known."
    )


class AnswerState(StrEnum):
    """Where an answer stands."""

    WAITING = "waiting"
    WRITING = "writing"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """True when no more text comes."""
        return self not in (AnswerState.WAITING, AnswerState.WRITING)


class Answer(Record):
    """One model's answer in a comparison."""

    card: ModelCard = Field(description="Who answered.")
    text: str = Field(default="", description="What it wrote so far.")
    state: AnswerState = Field(default=AnswerState.WAITING, description="Where it stands.")
    is_cut: bool = Field(default=False, description="Cut off at the token limit.")
    error_code: str = Field(default="", description="Of the failure; empty when well.")
    error: str = Field(default="", description="The failure in the user's words.")
    stats: AnswerStats = Field(default=AnswerStats(), description="Speed and length.")

    @property
    def is_ok(self) -> bool:
        """True when it is complete and can be voted on."""
        return self.state is AnswerState.DONE and bool(self.text.strip())


class Verdict(Record):
    """What one person thought of a comparison."""

    winner: str = Field(description="1 to 4 (the answer's place), tie or both_bad.")
    user: str = Field(description="Who voted.")
    vote_id: str = Field(description="The vote's id, made by the client.")
    made_at: datetime = Field(default_factory=utc_now, description="UTC.")


class Comparison(Record):
    """The same conversation and settings, several models; answers stand in the order shown."""

    id: str = Field(default_factory=new_id, description="UUIDv7; the permalink's name.")
    messages: tuple[Message, ...] = Field(min_length=1, description="Ends with a user turn.")
    answers: tuple[Answer, ...] = Field(description="In the order shown.")
    sampling: dict[str, Any] = Field(default_factory=dict, description="SamplingParams.")
    is_blind: bool = Field(default=False, description="Names stay hidden until the vote.")
    set_id: str = Field(default="", description="The compare_set job it belongs to, if any.")
    set_number: int = Field(default=0, ge=0, description="Number of the prompt in its set.")
    user: str = Field(default="", description="Who asked.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")
    verdict: Verdict | None = Field(default=None, description="The reader's own vote in force.")

    @property
    def prompt(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def is_final(self) -> bool:
        """True when no answer will change any more."""
        return all(answer.state.is_final for answer in self.answers)

    @property
    def is_votable(self) -> bool:
        """True when at least two answers are complete."""
        return sum(answer.is_ok for answer in self.answers) >= 2

    @property
    def same_places(self) -> list[list[int]]:
        """Places, from 1, of complete answers with the same words, by group."""
        groups: dict[str, list[int]] = {}
        for place, answer in enumerate(self.answers, start=1):
            if answer.is_ok:
                groups.setdefault(answer.text.strip(), []).append(place)
        return [places for places in groups.values() if len(places) > 1]

    @property
    def is_all_same(self) -> bool:
        """True when all complete answers have the same words: nothing can be preferred."""
        return [len(places) for places in self.same_places] == [
            sum(answer.is_ok for answer in self.answers)
        ]

    @property
    def winner(self) -> str:
        """What the reader's vote counts as: a place from 1, tie, both_bad, or '' for no vote."""
        said = self.verdict.winner if self.verdict else ""
        return TIE if said.isdigit() and self.is_all_same else said
