"""Whether a teacher can teach a student logit by logit: `check_pairing(config)`. Torch-free.

Both must give the same text the same ids. Their embeddings may be padded to different widths
(Qwen2.5 has 151,936 rows in small models and 152,064 in large ones, with one tokenizer): then the
ids that both have, and that the tokenizer uses, are compared. A run that says `across_tokenizers`
asks for neither: each model has its own ids then.
"""

from dataclasses import dataclass
from pathlib import Path

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import BaseRun, LogitRun, TeacherConfig, TeacherRun
from distill_studio.distill.estimate import ModelFacts, model_facts

PROBES = (
    "The quick brown fox's 1,234.56 jumps\n\tover — naïve café 東京 🦊!",
    "def f(x):\n    return x ** 2  # twice\n",
)
WAY_OUT = (
    "Choose a teacher of the student's family, or let the teacher write answers and train on them"
    " with SFT: that works across tokenizers."
)
_OR_ACROSS = " Or follow it by sorted probabilities: set Across tokenizers to uld or hybrid."


@dataclass(frozen=True)
class Pairing:
    """Teachers and a student that fit, and the teachers that do not."""

    width: int  # ids that all have; of the student alone where the teacher has others
    teachers: tuple[TeacherConfig, ...]
    facts: tuple[ModelFacts, ...]  # of those
    student: ModelFacts
    unlike: tuple[tuple[TeacherConfig, str], ...] = ()  # and why; they teach by answers alone
    teacher_width: int | None = None  # its own ids, where it is followed across tokenizers

    @property
    def teacher(self) -> ModelFacts:
        """The first."""
        return self.facts[0]

    @property
    def is_padded_unlike(self) -> bool:
        """True when embeddings have different widths."""
        is_one = self.teacher_width is None
        return is_one and any(facts.vocab != self.student.vocab for facts in self.facts)

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the teachers that fit; their sum is 1."""
        total = sum(teacher.weight for teacher in self.teachers)
        return tuple(teacher.weight / total for teacher in self.teachers)


def check_pairing(config: TeacherRun) -> Pairing:
    """The pairing of a run. Of several teachers those with other tokenizers are set aside.

    Raises:
        InvalidInput: Unlike tokenizers, a teacher that reads too little, or a divergence that
            needs a teacher online; with the way out.
        NotFound: There is no model, or no tokenizer.json.
    """
    check_served(config)
    base = Path(config.student.base_folder)
    student, ours = model_facts(base, config.student), ChatTokenizer.load(base)
    if is_across(config):
        return _across(config, student, ours)
    fitting, facts, unlike = [], [], []
    for teacher in config.teachers:
        if not teacher.folder:  # its server will be asked
            fitting.append(teacher)
            facts.append(_unknown(student))
            continue
        folder = Path(teacher.folder)
        found = model_facts(folder)
        why = unlikeness(ChatTokenizer.load(folder), ours)
        if why:
            unlike.append((teacher, why))
            continue
        _check_context(config, teacher, found)
        fitting.append(teacher)
        facts.append(found)
    if not fitting:
        can_across = isinstance(config, LogitRun) and len(config.teachers) == 1
        raise InvalidInput(unlike[0][1], WAY_OUT + (_OR_ACROSS if can_across else ""))
    if isinstance(config, LogitRun):
        _check_stored(config)
    width = min(student.vocab, used_ids(ours), *(found.vocab for found in facts))
    return Pairing(width, tuple(fitting), tuple(facts), student, tuple(unlike))


def is_across(config: BaseRun) -> bool:
    """True where a teacher is followed by its own tokenizer's ids, whatever these are."""
    return isinstance(config, LogitRun) and config.across_tokenizers != "answers"


def _across(config: TeacherRun, student: ModelFacts, ours: ChatTokenizer) -> Pairing:
    """The pairing of a run across tokenizers.

    Raises:
        InvalidInput: What has no meaning across tokenizers, or is not there for them.
    """
    assert isinstance(config, LogitRun)
    wrong = {
        "follows one teacher, not a mixture": len(config.teachers) > 1,
        "asks a teacher on this machine at each update": config.signal != "online",
        "has a loss of its own, in the place of other divergences": config.divergence
        != "forward_kl",
        "is at temperature 1: T^2 keeps the gradient of a divergence alone": config.temperature
        != 1.0,
        "compares no hidden states, which stand at other places": config.features is not None,
    }
    for what, is_so in wrong.items():
        if is_so:
            raise InvalidInput(
                f"Distillation across tokenizers ({config.across_tokenizers}) {what}.",
                "Change that setting, or set Across tokenizers to answers.",
            )
    folder = Path(config.teacher.folder)
    facts, theirs = model_facts(folder), ChatTokenizer.load(folder)
    if not theirs.has_template:
        raise InvalidInput(
            f"The teacher {config.teacher.id} has no chat template to read the rows by.",
            "Choose an instruct model as the teacher.",
        )
    width, other = (min(m.vocab, used_ids(c)) for m, c in ((student, ours), (facts, theirs)))
    return Pairing(width, (config.teacher,), (facts,), student, teacher_width=other)


def check_served(config: TeacherRun) -> None:
    """Refuse what a vLLM server cannot give: it tells the top-k of given rows, at temperature 1.

    Raises:
        InvalidInput: With the way out.
    """
    name = next((teacher.id for teacher in config.teachers if teacher.server is not None), "")
    if not name:
        return
    if not isinstance(config, LogitRun):
        raise InvalidInput(
            f"{name} is a server: it tells what it thinks of given rows, not of what the student"
            " will say.",
            "Choose a teacher on this machine, or logit distillation.",
        )
    if len(config.teachers) > 1:
        raise InvalidInput(
            "A teacher behind a server cannot be mixed with others.",
            "Leave the other teachers out, or choose teachers on this machine.",
        )
    if config.signal != "cache":
        raise InvalidInput(
            f"{name} is a server: it cannot be asked at each update.",
            "Store its signal once (top-k and their tail).",
        )
    if config.kept != "top_k":
        raise InvalidInput(
            f"{name} is a server: it tells the likeliest ids, and random draws need all of them.",
            "Store the top-k and their tail, or choose a teacher on this machine.",
        )
    if config.temperature != 1.0:
        raise InvalidInput(
            "vLLM tells probabilities at temperature 1 alone, whatever it is asked for; this run"
            f" is at {config.temperature:g}.",
            "Set the temperature to 1, or choose a teacher on this machine.",
        )


def _unknown(student: ModelFacts) -> ModelFacts:
    """Of a model whose files are elsewhere."""
    nothing = {"layers": 0, "hidden": 0, "context": 0, "parameters": 0}
    return ModelFacts(model_type="", vocab=student.vocab, **nothing)


def used_ids(chat: ChatTokenizer) -> int:
    """Ids below this are the tokenizer's; what a model has beyond is padding."""
    return max(chat.vocabulary().values()) + 1


def unlikeness(theirs: ChatTokenizer, ours: ChatTokenizer) -> str:
    """Why two models cannot be compared token by token; '' when they can."""
    if theirs.vocabulary() != ours.vocabulary():
        return (
            f"Teacher and student have different tokenizers: {_difference(theirs, ours)}. Their"
            " logits cannot be compared token by token."
        )
    if any(theirs.encode(text) != ours.encode(text) for text in PROBES):
        return (
            "Teacher and student have the same tokens but cut text into them differently. Their"
            " logits cannot be compared token by token."
        )
    return ""


def _check_context(config: TeacherRun, teacher: TeacherConfig, facts: ModelFacts) -> None:
    if facts.context and config.max_length > facts.context:
        raise InvalidInput(
            f"The teacher {teacher.id} reads at most {facts.context} tokens.",
            f"Set the longest length to {facts.context} or less.",
        )


def _check_stored(config: LogitRun) -> None:
    if config.signal == "cache" and config.divergence != "forward_kl":
        raise InvalidInput(
            "From a stored teacher signal only forward KL can be learned: the others need the"
            " teacher's probability of whatever the student finds likely.",
            "Choose forward KL, or ask the teacher at each update.",
        )
    if config.signal == "cache" and config.features is not None:
        raise InvalidInput(
            "A stored teacher signal holds no hidden states.",
            "Ask the teacher at each update, or set the weight of hidden states to 0.",
        )


def _difference(theirs: ChatTokenizer, ours: ChatTokenizer) -> str:
    """How two vocabularies differ, with an example."""
    mine, other = ours.vocabulary(), theirs.vocabulary()
    if len(mine) != len(other):
        return f"{len(other)} and {len(mine)} tokens"
    token = next(t for t in sorted(mine, key=mine.__getitem__) if other.get(t) != mine[t])
    return f"token {token!r} has id {mine[token]} for the student, {other.get(token)} there"
