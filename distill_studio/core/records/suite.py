"""A suite: prompts, each with what a good answer is; and a trial: models asked all of them."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from distill_studio.core.ids import messages_hash, new_id
from distill_studio.core.records.base import Record, utc_now
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.seed import Message

DRAFT = "Written, not scored yet."


class SuiteScorer(StrEnum):
    """How the answers of a suite are scored, each from 0 to 1."""

    MATH = "math"
    NUMERIC = "numeric"
    EXACT = "exact"
    UNIT_TESTS = "unit_tests"
    CHOICE = "choice"
    ROUGE_L = "rouge_l"
    LIKELIHOOD = "likelihood"
    AGREEMENT = "agreement"
    JUDGE = "judge"

    @property
    def is_weighed(self) -> bool:
        """Models are not scored by what they write: local models read what is there already."""
        return self in (SuiteScorer.CHOICE, SuiteScorer.LIKELIHOOD, SuiteScorer.AGREEMENT)

    @property
    def is_verdict(self) -> bool:
        """A higher score says that this answer is better than that."""
        return self not in (SuiteScorer.ROUGE_L, SuiteScorer.LIKELIHOOD, SuiteScorer.AGREEMENT)

    @property
    def has_second_step(self) -> bool:
        """What is written is then read by a model: as long work as the writing."""
        return self in (SuiteScorer.AGREEMENT, SuiteScorer.JUDGE)

    @property
    def is_rule(self) -> bool:
        """What is written is scored without a model."""
        return not self.is_weighed and not self.has_second_step

    @property
    def needs_reference(self) -> bool:
        """A prompt alone cannot be scored."""
        return self not in (SuiteScorer.AGREEMENT, SuiteScorer.JUDGE)


class SuiteItem(Record):
    """One prompt of a suite."""

    number: int = Field(ge=0, description="Its place in the suite.")
    messages: tuple[Message, ...] = Field(description="The conversation; ends with a user turn.")
    reference: str = Field(
        default="", description="The right answer, the tests, or the right choice; '' for none."
    )
    choices: tuple[str, ...] = Field(default=(), description="Of a multiple choice.")
    topic: str = Field(default="", description="For figures by topic.")

    @property
    def prompt_hash(self) -> str:
        """Hash of the messages; a seed of the same messages has it as its `content_hash`."""
        return messages_hash(self.messages)

    @property
    def is_practice(self) -> bool:
        """Of the half that may become training data; the other half stays an exam.

        The half follows from the prompt alone, before anybody has seen how a model does on it:
        what is sent back was lost, so what would be left of it is what was not lost.
        """
        return int(self.prompt_hash[:8], 16) % 2 == 0


class Suite(Record):
    """A set of prompts with one way to score answers."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    name: str = Field(min_length=1, max_length=100, description="Unique in the workspace.")
    scorer: SuiteScorer = Field(description="How answers are scored.")
    source: str = Field(default="", description="The file it came from.")
    content_hash: str = Field(default="", description="Of its items, in order.")
    item_count: int = Field(ge=1, description="Prompts.")
    user: str = Field(default="", description="Who added it.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")


class Trial(Record):
    """Some models on one suite."""

    id: str = Field(default_factory=new_id, description="UUIDv7.")
    suite_id: str = Field(description="Which suite.")
    models: tuple[ModelCard, ...] = Field(description="Who was asked, as they were then.")
    sampling: dict[str, object] = Field(default_factory=dict, description="The same for all.")
    samples: int = Field(default=1, ge=1, description="Answers per prompt and model.")
    most_items: int = Field(default=0, ge=0, description="Only the first so many; 0: all.")
    judge: str = Field(default="", description="The teacher that scores answers by the rubric.")
    judge_model: str = Field(default="", description="Its model id, as it was then.")
    judge_warning: str = Field(default="", description="A scored model is its relative; which.")
    rubric: dict[str, object] = Field(default_factory=dict, description="Its texts and aspects.")
    usd_per_hour: float | None = Field(
        default=None, description="Price of the machine of local models; None: nobody gave one."
    )
    user: str = Field(default="", description="Who started it.")
    created_at: datetime = Field(default_factory=utc_now, description="UTC.")

    @property
    def teacher(self) -> ModelCard | None:
        """The model that the others are measured by: the first teacher."""
        return next((card for card in self.models if card.role is ModelRole.TEACHER), None)


class SuiteAnswer(Record):
    """One model's answer to one prompt, scored."""

    model: str = Field(description="Id of the model's card.")
    number: int = Field(description="Of the prompt.")
    sample: int = Field(default=0, description="Which of several answers.")
    answer: str = Field(default="", description="What it wrote.")
    score: float | None = Field(default=None, description="0 to 1; None where it failed to answer.")
    reason: str = Field(default="", description="Why this score, in a few words.")
    error: str = Field(default="", description="Why there is no score.")
    kl: float | None = Field(
        default=None, description="KL(teacher || model), mean over the text's tokens, in nats."
    )
    loss: float | None = Field(
        default=None, description="Loss on the reference, mean over its tokens, in nats."
    )
    judged: str = Field(default="", description="What the judge wrote, as it came.")
    is_cut: bool = Field(default=False, description="Cut off at the token limit.")
    tokens: int | None = Field(default=None, description="Written.")
    prompt_tokens: int | None = Field(default=None, description="Read, where the model says so.")
    latency_ms: float | None = Field(default=None, description="From request to reply.")

    @property
    def is_draft(self) -> bool:
        """Written, and waits for its score."""
        return self.error == DRAFT
