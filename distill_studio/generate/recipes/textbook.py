"""Textbook sections and exercises from a list of topics (Phi-1.5, arXiv 2309.05463, section 2.2).

Phi-1.5 was trained on 20 billion tokens of "textbook-like" texts grown from 20,000 topics; what
they covered was its authors' main concern. So each pair carries its path in the tree of topics, and
how much of the outline was made.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Message, Seed
from distill_studio.core.words import words
from distill_studio.generate.asides import plain, read_shots
from distill_studio.generate.effects import (
    ELIMINATED,
    UNREADABLE,
    Ask,
    Draft,
    Dropped,
    Made,
    Nearest,
    Novel,
    Steps,
    Unit,
)
from distill_studio.generate.eliminate import RULES, TOO_LIKE
from distill_studio.generate.exercises import read_exercises, wrong_with
from distill_studio.generate.outline import Leaf, coverage, read_titles, topic_of
from distill_studio.generate.prompts import fill, load_prompts
from distill_studio.generate.recipes.base import Settings, user, with_system
from distill_studio.generate.recipes.new_prompts import ask_new, draft_new, new_seed

OUTLINE = "subtopics"
SHOTS = "exercise_shots"
LIKE = 0.9  # ROUGE-L from which an exercise is one that there is
FEWEST_WORDS = 40  # of a section
_SORRY_WORDS = 80  # Evol-Instruct's rule (arXiv 2304.12244): "sorry" in a text shorter than this
_CUT = "length"
Asking = Generator[Any, Any, Any]


@dataclass
class _Book:
    """What a unit has so far."""

    unit: Unit
    settings: Settings
    leaves: list[Leaf] = field(default_factory=list)
    sections: dict[str, ChatReply] = field(default_factory=dict)  # by place of the leaf
    lost: dict[str, str] = field(default_factory=dict)  # places without one, and why
    dropped: list[str] = field(default_factory=list)  # why exercises were

    @property
    def audience(self) -> str:
        return self.settings.word("audience")

    def text(self, name: str, **values: object) -> str:
        return fill(self.settings.texts[name], audience=self.audience, **values)

    def params(self, kind: str, leaf: Leaf) -> dict[str, Any]:
        asked = self.settings.number("subtopics") ** self.settings.number("depth")
        found: dict[str, Any] = {
            "kind": kind,
            "path": list(leaf.path),
            "audience": self.audience,
            "coverage": coverage(asked, self.leaves, self.lost),
        }
        return found | ({"exercises_dropped": self.dropped} if self.dropped else {})


class Textbook:
    """From each topic sections, and exercises with their answers."""

    prompts = load_prompts("textbook")

    def samples(self, n: int) -> int:
        """One book."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """The outline, the sections, the exercises, their answers."""
        book = _Book(unit, settings)
        book.leaves = yield from _outline(book)
        yield from _sections(book)
        exercises: list[tuple[str, Leaf, Seed]] = []
        if settings.number("exercises"):
            exercises = yield from _exercises(book)
        answers = yield from _answers(book, exercises)
        return Made((*(_section_draft(book, leaf) for leaf in _written(book)), *answers))


# -- the outline --------------------------------------------------------------------------


def _outline(book: _Book) -> Generator[Any, Any, list[Leaf]]:
    topic = topic_of(book.unit.seed.prompt)
    reply = yield _ask_titles(book, OUTLINE, (topic,))
    titles = _titles(book, OUTLINE, reply, (topic,))
    firsts = [Leaf(str(place), (topic, title)) for place, title in titles.items()]
    if book.settings.number("depth") == 1:
        return firsts
    asks = [_ask_titles(book, f"{OUTLINE}/{leaf.place}", leaf.path) for leaf in firsts]
    replies = yield tuple(asks)
    leaves: list[Leaf] = []
    for leaf, ask, reply in zip(firsts, asks, replies, strict=True):
        titles = _titles(book, ask.step, reply, (*leaf.path, *_names(leaves)))
        leaves += [
            Leaf(f"{leaf.place}.{place}", (*leaf.path, title)) for place, title in titles.items()
        ]
    return leaves


def _ask_titles(book: _Book, step: str, path: tuple[str, ...]) -> Ask:
    """For titles, after examples of outlines: models of any size follow these."""
    count = book.settings.number("subtopics")
    messages: list[Message] = []
    for topic, titles in read_shots(book.settings.texts["shots"]):
        messages += user(book.text("outline", topic=topic, count=count))
        messages.append(_listed(titles[:count]))
    messages += user(book.text("outline", topic=": ".join(path), count=count))
    return Ask(step, tuple(messages), sampling=plain(book.settings.sampling))


def _listed(items: Sequence[str]) -> Message:
    text = "\n".join(f"{place}. {item}" for place, item in enumerate(items, start=1))
    return Message(role="assistant", content=text)


def _titles(book: _Book, step: str, reply: ChatReply, others: Sequence[str]) -> dict[int, str]:
    count, is_cut = book.settings.number("subtopics"), reply.finish_reason == _CUT
    try:
        found = read_titles(reply.text, count, others, is_cut=is_cut)
    except Unreadable as err:
        raise Dropped(step, UNREADABLE, err.user_message, reply.text) from err
    if not found:
        reason = "The list holds no title that differs from the topic's own."
        raise Dropped(step, ELIMINATED, reason, reply.text)
    return found


def _names(leaves: Sequence[Leaf]) -> list[str]:
    return [leaf.title for leaf in leaves]


# -- sections -----------------------------------------------------------------------------


def _sections(book: _Book) -> Asking:
    """Fill `book.sections` and `book.lost`."""
    asks = [_ask_section(book, leaf) for leaf in book.leaves]
    replies = yield tuple(asks)
    for leaf, ask, reply in zip(book.leaves, asks, replies, strict=True):
        _raise_if_failed(ask.step, reply)
        wrong = _wrong_with_section(reply.text)
        if wrong:
            book.lost[leaf.place] = wrong
        else:
            book.sections[leaf.place] = reply
    if not book.sections:
        reasons = ", ".join(sorted(set(book.lost.values())))
        text = "\n\n".join(reply.text for reply in replies)
        raise Dropped(asks[0].step, ELIMINATED, f"No section can be used: {reasons}.", text)


def _ask_section(book: _Book, leaf: Leaf) -> Ask:
    parts = (book.settings.texts["style"], book.settings.system_prompt)
    system = Message(role="system", content="\n\n".join(part for part in parts if part))
    messages = (system, *_request(book, leaf))
    return Ask(f"section/{leaf.place}", messages, may_fail=True)


def _request(book: _Book, leaf: Leaf) -> tuple[Message, ...]:
    return user(book.text("section", subtopic=leaf.title, topic=leaf.above))


def _wrong_with_section(text: str) -> str:
    count = len(words(text))
    if count < FEWEST_WORDS:
        return f"shorter than {FEWEST_WORDS} words" if count else "empty"
    if count < _SORRY_WORDS and "sorry" in text.lower():
        return "a refusal"
    return ""


def _written(book: _Book) -> list[Leaf]:
    return [leaf for leaf in book.leaves if leaf.place in book.sections]


def _section_draft(book: _Book, leaf: Leaf) -> Draft:
    request = _request(book, leaf)
    return Draft(
        book.sections[leaf.place],
        with_system(request, book.settings.system_prompt),
        seed=Seed(messages=request, topic=leaf.topic, extra={"path": list(leaf.path)}),
        params=book.params("section", leaf),
    )


# -- exercises ----------------------------------------------------------------------------


def _exercises(book: _Book) -> Generator[Any, Any, list[tuple[str, Leaf, Seed]]]:
    """(step of its answer, leaf, exercise) of those that are of use."""
    leaves = _written(book)
    asks = [_ask_exercises(book, leaf) for leaf in leaves]
    shown = [each for _, shots in read_shots(book.settings.texts[SHOTS]) for each in shots]
    replies = yield tuple(asks)
    found: list[tuple[str, Leaf, Seed]] = []
    for leaf, ask, reply in zip(leaves, asks, replies, strict=True):
        _raise_if_failed(ask.step, reply)
        for place, text in _read(book, reply).items():
            wrong = wrong_with(text, book.sections[leaf.place].text, shown)
            if not wrong:
                nearest: Nearest = yield Novel(text, LIKE)
                wrong = "" if nearest.is_new else RULES[TOO_LIKE]
            if wrong:
                book.dropped.append(f"{leaf.place}/{place}: {wrong}")
            else:
                seed = new_seed(text, leaf.topic, path=list(leaf.path))
                found.append((f"answer/{leaf.place}/{place}", leaf, seed))
    return found


def _ask_exercises(book: _Book, leaf: Leaf) -> Ask:
    count = book.settings.number("exercises")
    messages: list[Message] = []
    for section, exercises in read_shots(book.settings.texts[SHOTS]):
        messages += user(book.text("exercises", section=section, count=count))
        messages.append(_listed(exercises[:count]))
    section = book.sections[leaf.place].text
    messages += user(book.text("exercises", section=section, count=count))
    step, sampling = f"exercises/{leaf.place}", plain(book.settings.sampling)
    return Ask(step, tuple(messages), sampling=sampling, may_fail=True)


def _read(book: _Book, reply: ChatReply) -> dict[int, str]:
    count, is_cut = book.settings.number("exercises"), reply.finish_reason == _CUT
    try:
        return read_exercises(reply.text, count, is_cut=is_cut)
    except Unreadable as err:
        book.dropped.append(err.user_message)
        return {}


def _answers(
    book: _Book, exercises: Sequence[tuple[str, Leaf, Seed]]
) -> Generator[Any, Any, list[Draft]]:
    asks = [ask_new(step, seed, book.settings, may_fail=True) for step, _, seed in exercises]
    replies = (yield tuple(asks)) if asks else ()
    answered: list[tuple[Leaf, Seed, ChatReply]] = []
    for (step, leaf, seed), reply in zip(exercises, replies, strict=True):
        _raise_if_failed(step, reply)
        if reply.text.strip():
            answered.append((leaf, seed, reply))
        else:
            book.dropped.append(f"{step.removeprefix('answer/')}: no answer")
    return [
        draft_new(reply, seed, book.settings, **book.params("exercise", leaf))
        for leaf, seed, reply in answered
    ]


def _raise_if_failed(step: str, reply: ChatReply) -> None:
    """An empty reply costs its part only; a teacher that fails is to be asked again."""
    if not reply.is_ok:
        raise Dropped(step, reply.error_code, reply.error)
