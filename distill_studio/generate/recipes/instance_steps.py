"""What comes of Self-Instruct's new instructions: instances (arXiv 2212.10560, section 2.2).

Each instruction is asked whether it is a classification task. Then, for classification, the output
comes first: the class labels, and an input for each; made the other way round, most inputs would
fall to one label. For all else the input comes first, and is answered as an ordinary question.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatReply
from distill_studio.core.records import Seed
from distill_studio.generate.asides import plain, steady
from distill_studio.generate.effects import (
    ELIMINATED,
    EMPTY_ANSWER,
    UNREADABLE,
    Ask,
    Draft,
    Dropped,
    Made,
    Unit,
)
from distill_studio.generate.eliminate import (
    CUT_OFF,
    EMPTY,
    FEW_LABELS,
    NOT_READ,
    Eliminated,
    in_words,
)
from distill_studio.generate.instances import (
    FEWEST_LABELS,
    REPEATED,
    Instance,
    joined,
    key_of,
    read_input,
    read_inputs,
    read_kind,
    read_labels,
    sound,
)
from distill_studio.generate.recipes.base import ANSWER, Settings
from distill_studio.generate.recipes.instance_asks import (
    KIND_SCHEMA,
    input_asked,
    inputs_asked,
    kind_asked,
    labels_asked,
)
from distill_studio.generate.recipes.new_prompts import ask_new, draft_new, new_seed

OUTPUT_FIRST = "output first"
INPUT_FIRST = "input first"
NO_INPUT = "no input"
_CUT = "length"
Asking = Generator[tuple[Ask, ...], tuple[ChatReply, ...], Any]


@dataclass(frozen=True)
class _Plan:
    """An instance to be: of which instruction, and the half of it that comes first."""

    place: int  # of the instruction in the list
    number: int  # among its instances, from 1
    instruction: str
    way: str
    input: str = ""  # where the input comes first
    label: str = ""  # where the output does
    labels: tuple[str, ...] = ()  # all of the instruction

    @property
    def step(self) -> str:
        """The request that makes its second half."""
        return f"{'input' if self.label else ANSWER}/{self.place}/{self.number}"

    @property
    def origin(self) -> dict[str, Any]:
        """For the provenance of pair and seed."""
        found: dict[str, Any] = {
            "place": self.place,
            "instance": self.number,
            "instruction": self.instruction,
            "way": self.way,
        }
        return found | ({"labels": list(self.labels)} if self.labels else {})


@dataclass
class _Work:
    """What a unit has so far."""

    unit: Unit
    settings: Settings
    kept: Mapping[int, str]
    lost: list[tuple[str, Eliminated, str]] = field(default_factory=list)  # step, what, its reply

    def lose(self, step: str, rule: str, text: str, reply: str = "") -> None:
        """Note what is not kept; `step` is to be asked again where nothing is."""
        place = int(step.split("/")[1])
        self.lost.append((step, Eliminated(place, rule, text), reply or text))

    def nothing(self) -> Dropped:
        """Nothing is left: the first loss is to blame."""
        step, first, reply = self.lost[0]
        words = in_words([each for _, each, _ in self.lost])
        reason = f"None of {len(self.kept)} instructions came to an instance: {words}."
        return Dropped(step, UNREADABLE if first.rule == NOT_READ else ELIMINATED, reason, reply)


def instances(
    kept: Mapping[int, str], unit: Unit, settings: Settings, found: dict[str, Any]
) -> Generator[tuple[Ask, ...], tuple[ChatReply, ...], Made]:
    """Make the instances of all that is kept, side by side.

    An input that got no answer stays as a seed.

    Args:
        kept: The instructions, by their place in the list.
        unit: Which.
        settings: The user's.
        found: The provenance of the list; what came of its instructions is added.

    Raises:
        Dropped: No instance is kept, or the teacher failed on the way to one.
    """
    work = _Work(unit, settings, kept)
    plans = yield from _planned(work, (yield from _kinds(work)))
    if not plans:
        raise work.nothing()
    replies = yield tuple(_last_half(work, plan) for plan in plans)
    made: list[tuple[_Plan, Instance, ChatReply]] = []
    waiting: list[Seed] = []
    for plan, reply in zip(plans, replies, strict=True):
        instance = _made(work, plan, reply)
        if instance is not None:
            made.append((plan, instance, reply))
        elif not plan.label:
            waiting.append(_unanswered(plan, reply))
    drafts = _drafts(work, made)
    found["instances"] = {
        "kept": len(drafts),
        "not_answered": len(waiting),
        "dropped": [each.as_params() for _, each, _ in work.lost],
    }
    if drafts:
        finished = (_with(draft, found) for draft in drafts)
        return Made(tuple(finished), seeds=tuple(waiting))
    if waiting:
        _raise_unanswered(plans, replies)
    raise work.nothing()


# -- which kind, and the first halves -----------------------------------------------------


def _kinds(work: _Work) -> Asking:
    """Place -> whether its instruction is a classification task."""
    texts = work.settings.texts
    sampling = steady(work.unit, work.settings.sampling)
    asks = [
        Ask(f"classify/{place}", kind_asked(texts, text), "", sampling, KIND_SCHEMA, may_fail=True)
        for place, text in work.kept.items()
    ]
    replies = yield tuple(asks)
    kinds: dict[int, bool] = {}
    for place, ask, reply in zip(work.kept, asks, replies, strict=True):
        _raise_if_failed(ask.step, reply)
        kind = read_kind(reply.text)
        if kind is None:
            work.lose(ask.step, NOT_READ, work.kept[place], reply.text)
        else:
            kinds[place] = kind
    return kinds


def _planned(work: _Work, kinds: Mapping[int, bool]) -> Asking:
    """The plans of all instances: labels of classification tasks, inputs of the others."""
    asks = [_first_half(work, place, is_kind=is_kind) for place, is_kind in kinds.items()]
    replies = (yield tuple(asks)) if asks else ()
    plans: list[_Plan] = []
    for (place, is_kind), ask, reply in zip(kinds.items(), asks, replies, strict=True):
        _raise_if_failed(ask.step, reply)
        read = _by_label if is_kind else _by_input
        try:
            plans += read(work, place, reply)
        except Unreadable:
            work.lose(ask.step, NOT_READ, work.kept[place], reply.text)
    return _each_once(work, plans)


def _first_half(work: _Work, place: int, *, is_kind: bool) -> Ask:
    """For the labels of a classification task, or the inputs of another."""
    texts, instruction = work.settings.texts, work.kept[place]
    sampling = plain(work.settings.sampling)
    if is_kind:
        asked = labels_asked(texts, instruction)
        return Ask(f"labels/{place}", asked, sampling=sampling, may_fail=True)
    asked = inputs_asked(texts, instruction, work.settings.number("instances"))
    return Ask(f"inputs/{place}", asked, sampling=sampling, may_fail=True)


def _by_label(work: _Work, place: int, reply: ChatReply) -> list[_Plan]:
    """A plan for each label, from another label on for each instruction: none comes up short."""
    labels = read_labels(reply.text, is_cut=reply.finish_reason == _CUT)
    if len(labels) < FEWEST_LABELS:
        work.lose(f"labels/{place}", FEW_LABELS, work.kept[place], reply.text)
        return []
    first = place % len(labels)
    chosen = [*labels[first:], *labels[:first]][: work.settings.number("instances")]
    return [
        _Plan(place, n, work.kept[place], OUTPUT_FIRST, label=label, labels=tuple(labels))
        for n, label in enumerate(chosen, start=1)
    ]


def _by_input(work: _Work, place: int, reply: ChatReply) -> list[_Plan]:
    given = read_inputs(reply.text, is_cut=reply.finish_reason == _CUT)
    return [
        _Plan(place, n, work.kept[place], INPUT_FIRST if each else NO_INPUT, each)
        for n, each in enumerate(given[: work.settings.number("instances")], start=1)
    ]


def _each_once(work: _Work, plans: Sequence[_Plan]) -> list[_Plan]:
    """Without prompts that another plan has already."""
    seen: set[str] = set()
    found: list[_Plan] = []
    for plan in plans:
        prompt = joined(plan.instruction, plan.input)
        if plan.label or key_of(prompt) not in seen:
            found.append(plan)
        else:
            work.lose(f"inputs/{plan.place}", REPEATED, prompt)
        if not plan.label:
            seen.add(key_of(prompt))
    return found


# -- the second halves --------------------------------------------------------------------


def _last_half(work: _Work, plan: _Plan) -> Ask:
    """For the input of a label, or the answer to an input."""
    if not plan.label:
        return ask_new(plan.step, _seed(plan, plan.input), work.settings, may_fail=True)
    asked = input_asked(work.settings.texts, plan.instruction, plan.label)
    return Ask(plan.step, asked, sampling=plain(work.settings.sampling), may_fail=True)


def _made(work: _Work, plan: _Plan, reply: ChatReply) -> Instance | None:
    """The instance, if its second half came."""
    if not plan.label:
        is_there = reply.is_ok and reply.text.strip()
        return Instance(plan.instruction, plan.input, reply.text) if is_there else None
    _raise_if_failed(plan.step, reply)
    given = read_input(reply.text)
    if not given or reply.finish_reason == _CUT:
        work.lose(plan.step, CUT_OFF if given else EMPTY, reply.text)
        return None
    return Instance(plan.instruction, given, plan.label)


def _drafts(work: _Work, made: Sequence[tuple[_Plan, Instance, ChatReply]]) -> list[Draft]:
    """The pairs to be, of instances that no rule speaks against."""
    drafts = []
    for (plan, instance, reply), rule in zip(made, sound([i for _, i, _ in made]), strict=True):
        if rule:
            work.lose(plan.step, rule, f"{instance.input} -> {instance.output}", reply.text)
            continue
        seed = _seed(plan, instance.input)
        drafts.append(draft_new(reply, seed, work.settings, **plan.origin))
        if plan.label:  # the reply is the input, and its reasoning no reason for the label
            drafts[-1] = replace(drafts[-1], answer=plan.label, reasoning="")
    return drafts


def _seed(plan: _Plan, given: str) -> Seed:
    return new_seed(joined(plan.instruction, given), **plan.origin)


def _unanswered(plan: _Plan, reply: ChatReply) -> Seed:
    seed = _seed(plan, plan.input)
    why = {"not_answered": reply.error or "The answer is empty."}
    return seed.model_copy(update={"extra": seed.extra | why})


def _with(draft: Draft, found: dict[str, Any]) -> Draft:
    return replace(draft, params=draft.params | {"list": found})


def _raise_unanswered(plans: Sequence[_Plan], replies: Sequence[ChatReply]) -> None:
    """Every question stayed without an answer: the first one is to blame."""
    for plan, reply in zip(plans, replies, strict=True):
        if not plan.label and not (reply.is_ok and reply.text.strip()):
            code, reason = reply.error_code or EMPTY_ANSWER, reply.error
            raise Dropped(plan.step, code, reason or "Every answer is empty.")


def _raise_if_failed(step: str, reply: ChatReply) -> None:
    """An empty reply costs its part only; a teacher that fails is to be asked again."""
    if not reply.is_ok:
        raise Dropped(step, reply.error_code, reply.error)
