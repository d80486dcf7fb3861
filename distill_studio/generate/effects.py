"""What a recipe may ask of the world, and what it gives back.

A recipe's `steps` is a generator: it yields effects (one, or a tuple of them to have side by
side), is sent their results, and returns what it made. It does nothing itself, so a recipe can
be read from top to bottom, tested by hand-fed replies, cut off anywhere and replayed.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from distill_studio.core.protocols import ChatReply, SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.verify import VerifierKind

UNREADABLE = "unreadable"  # codes of a reply that came and cannot be used
EMPTY_ANSWER = "empty_answer"
NOT_VERIFIED = "not_verified"
ELIMINATED = "eliminated"
BROKEN = "broken"  # the recipe itself failed on a reply
RECIPE_CODES = (UNREADABLE, EMPTY_ANSWER, NOT_VERIFIED, ELIMINATED, BROKEN)


@dataclass(frozen=True)
class Unit:
    """One run of a recipe over one seed. Its key in a generation is (seed, sample)."""

    seed: Seed
    sample: int  # among the runs over this seed; each teacher has a range of its own
    teacher: str
    attempt: int = 0  # how often its replies came and could not be used: other luck is due
    # Replies of an earlier run of the job, by step: not asked again.
    stored: Mapping[str, ChatReply] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Ask:
    """Ask a teacher; gives a `ChatReply` with text.

    A reply that failed or is empty ends the unit, unless `may_fail`.
    """

    step: str  # names the reply in the store: unique in a unit, the same in every run
    messages: tuple[Message, ...] = ()
    raw: str = ""
    sampling: SamplingParams | None = None  # None: as the user chose
    schema: dict[str, Any] | None = None
    teacher: str = ""  # '': the unit's
    may_fail: bool = False


@dataclass(frozen=True)
class Check:
    """Hold an answer against a reference; gives a `Verdict`."""

    kind: VerifierKind
    text: str
    reference: str


@dataclass(frozen=True)
class Novel:
    """Is this prompt unlike all others? Gives `Nearest`; a new one counts from now on."""

    text: str
    limit: float  # ROUGE-L from which it is too like


@dataclass(frozen=True)
class Nearest:
    """The prompt most like another, and how like (ROUGE-L F1, 0 to 1)."""

    is_new: bool
    text: str = ""
    score: float = 0.0


@dataclass(frozen=True)
class Draw:
    """Prompts as examples; gives a tuple of texts, the people's first. Fewer where there are."""

    people: int
    own: int  # of those that this generation made
    step: str  # names the draw, so that it differs from others of the unit


Effect = Ask | Check | Novel | Draw
Steps = Generator[Effect | tuple[Effect, ...], Any, "Made"]


@dataclass(frozen=True)
class Draft:
    """A pair to be: the reply that answers, and where it departs from the unit's own."""

    reply: ChatReply
    messages: tuple[Message, ...]  # what training sees before the answer: no examples
    answer: str | None = None  # None: the reply's text
    reasoning: str | None = None
    seed: Seed | None = None  # a new prompt, stored as a seed of its own
    sample: int | None = None  # None: the unit's
    teacher: str = ""  # '': the unit's
    topic: str = ""  # '': the seed's
    judge_score: float | None = None
    params: dict[str, Any] = field(default_factory=dict)  # provenance besides the sampling


@dataclass(frozen=True)
class Ranked:
    """Of two drafts (by their places) which is better; a preference to be."""

    chosen: int
    rejected: int
    strength: int | None = None
    source: str = "judge"


@dataclass(frozen=True)
class Made:
    """What a unit came to. No draft at all is fine: a recipe may find nothing worth keeping."""

    drafts: tuple[Draft, ...] = ()
    ranked: tuple[Ranked, ...] = ()
    seeds: tuple[Seed, ...] = ()  # prompts without an answer yet


class Dropped(Exception):
    """A unit that ends without anything to keep. From `step` on it is asked again on retry.

    Args:
        step: Whose reply is to blame.
        code: Of RECIPE_CODES, or of the teacher's error.
        reason: In the user's words.
        text: What the teacher wrote.
    """

    def __init__(self, step: str, code: str, reason: str, text: str = "") -> None:
        super().__init__(reason)
        self.step = step
        self.code = code
        self.reason = reason
        self.text = text


def unreadable(step: str, reply: ChatReply, what: str) -> Dropped:
    """The reply was to hold something and does not: `what`, as in 'no numbered list'."""
    return Dropped(step, UNREADABLE, f"The reply holds {what}.", reply.text)
