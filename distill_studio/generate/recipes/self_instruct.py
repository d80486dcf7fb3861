"""Self-Instruct: a teacher goes on with a list of instructions, and makes instances of its own.

Self-Instruct (arXiv 2212.10560) began with 175 tasks and showed eight at a time, six by people and
two of its own; Alpaca took 52,000 from one model so. What is too like a prompt there is (ROUGE-L of
0.7), too short, too long or not to be done in text is dropped, each with its rule. What then comes
of an instruction is in `instance_steps`; with the option `classify` off it is answered once.
"""

from collections.abc import Generator, Sequence
from typing import Any

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Seed
from distill_studio.generate.effects import (
    ELIMINATED,
    EMPTY_ANSWER,
    UNREADABLE,
    Ask,
    Draw,
    Dropped,
    Made,
    Nearest,
    Novel,
    Steps,
    Unit,
)
from distill_studio.generate.eliminate import (
    CUT_OFF,
    MORE_THAN_ASKED,
    MOST_WORDS,
    TOO_LIKE,
    Eliminated,
    in_words,
    rule_against,
    without_marks,
)
from distill_studio.generate.prompts import fill, load_prompts
from distill_studio.generate.recipes.base import ANSWER, Settings, user
from distill_studio.generate.recipes.instance_steps import instances
from distill_studio.generate.recipes.new_prompts import ask_new, draft_new, new_seed
from distill_studio.generate.text_lists import read_list

LIST = "list"
PEOPLE = 5  # besides the seed: six of eight are people's, as in the paper
OWN = 2


class SelfInstruct:
    """From each seed a list of new instructions, and instances of each that is kept."""

    prompts = load_prompts("self_instruct")

    def samples(self, n: int) -> int:
        """One list per seed."""
        return 1

    def steps(self, unit: Unit, settings: Settings) -> Steps:
        """The list, its rules, the instances or answers."""
        drawn = yield Draw(PEOPLE, OWN, LIST)
        shown = shown_with(unit.seed.prompt, drawn)
        reply = yield Ask(LIST, user(_question(shown, settings)))
        kept, eliminated = yield from chosen(reply, shown, settings)
        if not kept:
            reason = f"None of {len(eliminated)} new instructions is kept: {in_words(eliminated)}."
            raise Dropped(LIST, ELIMINATED, reason, reply.text)
        found = {
            "written": len(kept) + len(eliminated),
            "kept": len(kept),
            "dropped": [each.as_params() for each in eliminated],
        }
        if makes_instances(settings):
            return (yield from instances(kept, unit, settings, found))
        return (yield from answers(kept, settings, found))


def makes_instances(settings: Settings) -> bool:
    """Whether an instruction comes without what it works on."""
    return settings.word("classify") == "on"


def shown_with(prompt: str, drawn: Sequence[str]) -> list[str]:
    """The seed and what was drawn, each on a line of its own; long ones are left out."""
    lines = [" ".join(text.split()) for text in (prompt, *drawn)]
    return lines[:1] + [line for line in lines[1:] if len(line.split()) <= MOST_WORDS]


def chosen(
    reply: ChatReply, shown: Sequence[str], settings: Settings
) -> Generator[Novel, Nearest, tuple[dict[int, str], list[Eliminated]]]:
    """The instructions kept, by their place in the list, and those that are not.

    Raises:
        Dropped: The reply holds no list.
    """
    try:
        items = read_list(reply.text)
    except Unreadable as err:
        raise Dropped(LIST, UNREADABLE, str(err), reply.text) from err
    kept: dict[int, str] = {}
    eliminated: list[Eliminated] = []
    for place, item in enumerate(items, start=1):
        text = without_marks(item)
        if place == len(items) and reply.finish_reason == "length":
            eliminated.append(Eliminated(place, CUT_OFF, text))
        elif len(kept) == settings.number("count"):
            eliminated.append(Eliminated(place, MORE_THAN_ASKED, text))
        elif rule := rule_against(text, shown, is_whole=not makes_instances(settings)):
            eliminated.append(Eliminated(place, rule, text))
        else:
            near = yield Novel(text, settings.real("likeness"))
            if near.is_new:
                kept[place] = text
            else:
                eliminated.append(Eliminated(place, TOO_LIKE, text, near.text, near.score))
    return kept, eliminated


def answers(
    kept: dict[int, str], settings: Settings, found: dict[str, Any]
) -> Generator[tuple[Ask, ...], tuple[ChatReply, ...], Made]:
    """Ask all that is kept, side by side; what got no answer stays as a seed.

    Raises:
        Dropped: Nothing was answered.
    """
    seeds = {place: new_seed(text, place=place) for place, text in kept.items()}
    asks = [
        ask_new(f"{ANSWER}/{place}", seed, settings, may_fail=True) for place, seed in seeds.items()
    ]
    replies = yield tuple(asks)
    drafts = []
    waiting: list[Seed] = []
    for (place, seed), reply in zip(seeds.items(), replies, strict=True):
        if reply.text.strip():
            drafts.append(draft_new(reply, seed, settings, place=place, list=found))
        else:
            extra = seed.extra | {"not_answered": reply.error or "The answer is empty."}
            waiting.append(seed.model_copy(update={"extra": extra}))
    if not drafts:
        first = replies[0]
        code, reason = first.error_code or EMPTY_ANSWER, first.error or "Every answer is empty."
        raise Dropped(asks[0].step, code, reason)
    return Made(tuple(drafts), seeds=tuple(waiting))


def _question(shown: Sequence[str], settings: Settings) -> str:
    count = settings.number("count")
    return fill(
        settings.texts["list"],
        shown=len(shown),
        instructions="\n".join(f"{n}. {text}" for n, text in enumerate(shown, start=1)),
        count=count,
        first=len(shown) + 1,
        last=len(shown) + count,
        inputs=settings.texts["inputs_apart" if makes_instances(settings) else "inputs_within"],
    )
