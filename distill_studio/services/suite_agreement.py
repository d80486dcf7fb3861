"""Agreement with the teacher: a trial's models read the teacher's answers beside it.

The text is the reference where a prompt has one, else what the teacher wrote. `check_alike` refuses
models whose tokens or templates are not the teacher's; `agree` does the work of one model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import ChatModel
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.suite import SuiteAnswer, SuiteItem, SuiteScorer, Trial
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.pairing import unlikeness, used_ids
from distill_studio.services.comparable_models import ComparableModels
from distill_studio.store import suites as table

if TYPE_CHECKING:
    from distill_studio.distill.fidelity import Fidelity
    from distill_studio.services.suite_work import TrialWork
    from distill_studio.teachers.weights import Loaded

_MOST_RENDERED = 500  # prompts that are looked at for a template that writes them differently
_WAY_OUT = (
    "Score models of the teacher's family on it, or take a suite that scores what is written."
)


def teacher_first(trial: Trial) -> list[ModelCard]:
    """A trial's models; the teacher, whose answers others may have to read, before them."""
    return sorted(trial.models, key=lambda card: card is not trial.teacher)


def check_models(
    comparable: ComparableModels, cards: Sequence[ModelCard], items: Sequence[SuiteItem]
) -> None:
    """Refuse models that cannot be compared token by token, before anything is loaded.

    Raises:
        InvalidInput: There is no teacher among them, one does not run in this process, or its
            tokens or template are not the teacher's; says which.
    """
    teacher = next((card for card in cards if card.role is ModelRole.TEACHER), None)
    if teacher is None:
        raise InvalidInput(
            "Agreement is with a teacher, and none is among these models.",
            "Choose the teacher beside the others.",
        )
    theirs = _folder(comparable, teacher)
    for card in cards:
        ours = _folder(comparable, card)
        if theirs is not None and ours is not None:  # else they are looked at once loaded
            check_alike(items, (teacher.label, theirs), (card.label, ours))


def check_alike(
    items: Sequence[SuiteItem], teacher: tuple[str, Path], model: tuple[str, Path]
) -> int:
    """Ids that both models use, where the same text and the same prompts give both the same ids.

    Args:
        items: The prompts.
        teacher: Its label and folder.
        model: Its label and folder.

    Raises:
        InvalidInput: They do not; says in what they differ.
    """
    theirs, ours = ChatTokenizer.load(teacher[1]), ChatTokenizer.load(model[1])
    if why := unlikeness(theirs, ours):
        raise InvalidInput(f"{model[0]} cannot be compared with {teacher[0]}. {why}", _WAY_OUT)
    for item in items[:_MOST_RENDERED]:
        if _rendered(theirs, item) != _rendered(ours, item):
            raise InvalidInput(
                f"{model[0]} and {teacher[0]} have the same tokens, but their chat templates write"
                f" prompt {item.number + 1} differently, so they would not read the same.",
                "Give the model the teacher's chat template (tokenizer_config.json or"
                " chat_template.jinja), or take a suite that scores what is written.",
            )
    return used_ids(ours)


def agree(work: TrialWork, card: ModelCard, model: ChatModel, items: Sequence[SuiteItem]) -> None:
    """Have the teacher write what has no reference, then read all texts with both models.

    Raises:
        InvalidInput: A model does not run in this process, or is unlike the teacher.
    """
    teacher = work.trial.teacher
    if teacher is None:
        raise InvalidInput("This trial has no teacher to agree with.")
    loaded = _loaded(card, model)
    if card.id == teacher.id:
        there = work.drafts(card)
        missing = [
            (item, 0) for item in items if not item.reference and (item.number, 0) not in there
        ]
        work.skip_writing(sum((item.number, 0) in there for item in items))
        asyncio.run(work.write(card, model, missing))
        measure = loaded
    else:
        work.say(f"loading {teacher.label}")
        measure = _loaded(teacher, work.asking.source(teacher)())
    pair = [
        (one.label, _folder(work.comparable, one, must_be_here=True)) for one in (teacher, card)
    ]
    used = check_alike(work.items, *[(label, folder) for label, folder in pair if folder])
    _read_all(work, card, items, measure, loaded, used)


def _read_all(
    work: TrialWork,
    card: ModelCard,
    items: Sequence[SuiteItem],
    teacher: Loaded,
    model: Loaded,
    used: int,
) -> None:
    from distill_studio.distill.fidelity import FidelityReader  # noqa: PLC0415  (imports torch)

    reader = FidelityReader(teacher, model, used)
    measured_by = work.trial.teacher
    answers = table.of_model(work.db, work.trial.id, measured_by.id if measured_by else "")
    written = {answer.number: answer for answer in answers}
    is_teacher = measured_by is not None and card.id == measured_by.id
    rows, silent = {}, []
    for item in items:
        said = written.get(item.number)
        text = item.reference or (said.answer if said else "")
        row = reader.question(item.number, item.messages, text) if text else None
        if row is not None and row.answer:
            rows[item.number] = row
        elif not is_teacher:  # the teacher's own row says why
            silent.append(_silent(card, item))
    work.keep(card, silent)
    items_by = {item.number: item for item in items}
    for batch in reader.read(list(rows.values()), work.context.cancel):
        drafts = written if is_teacher else {}
        work.keep(card, [_answer(card, items_by[q.key], q, drafts.get(q.key)) for q in batch])


def _answer(
    card: ModelCard, item: SuiteItem, found: Fidelity, draft: SuiteAnswer | None
) -> SuiteAnswer:
    what = "reference" if item.reference else "teacher's answer"
    return SuiteAnswer(
        model=card.id,
        number=item.number,
        answer=draft.answer if draft else "",
        score=found.agreement,
        reason=f"KL {found.kl:.4f} nats per token over {found.tokens} tokens of the {what}",
        kl=found.kl,
        loss=found.loss if item.reference else None,
        is_cut=found.is_cut or bool(draft and draft.is_cut),
        tokens=found.tokens,
        latency_ms=draft.latency_ms if draft else None,
    )


def _silent(card: ModelCard, item: SuiteItem) -> SuiteAnswer:
    return SuiteAnswer(
        model=card.id, number=item.number, error="The teacher wrote no answer that could be read."
    )


def _loaded(card: ModelCard, model: ChatModel) -> Loaded:
    load = getattr(model, "load", None)
    if load is None:
        raise _elsewhere(card)
    found: Loaded = load()
    return found


def _folder(
    comparable: ComparableModels, card: ModelCard, *, must_be_here: bool = False
) -> Path | None:
    """Where a local model lies; None while it would have to be downloaded."""
    if not comparable.is_local(card):
        raise _elsewhere(card)
    return comparable.folder(card, download=must_be_here)


def _elsewhere(card: ModelCard) -> InvalidInput:
    return InvalidInput(
        f"{card.label} does not run in this process, so its probabilities cannot be read.",
        f"{SuiteScorer.AGREEMENT.value.capitalize()} takes local models: a local teacher, a base,"
        " a student.",
    )


def _rendered(chat: ChatTokenizer, item: SuiteItem) -> str:
    """The prompt as the template writes it; '' where it cannot."""
    turns = [{"role": m.role, "content": m.content} for m in item.messages]
    try:
        return chat.render(turns, answer_next=True)
    except InvalidInput:
        return ""
