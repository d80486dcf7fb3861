"""Answers scored by a judge, a teacher with a rubric. Start at `judge_answers`.

Answers are stored before the judge is asked. A reply that cannot be read is stored as it came, and
the judge is asked again, about the same answer, by a later start of the job. The rubric's texts are
those that the trial was started with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill_studio.core.actor import Actor
from distill_studio.core.errors import InvalidInput
from distill_studio.core.lenient_json import Unreadable
from distill_studio.core.protocols import ChatModel, ChatReply
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.core.records.suite import SuiteAnswer, SuiteItem, SuiteScorer
from distill_studio.judge import (
    Rubric,
    family_warning,
    load_rubric,
    read_scores,
    rubric_request,
)
from distill_studio.judge.rubric import BEST
from distill_studio.services import origins

if TYPE_CHECKING:
    from distill_studio.services.suite_work import Missing, TrialWork
    from distill_studio.services.workspace import Workspace


def judge_fields(
    workspace: Workspace, actor: Actor, scorer: SuiteScorer, judge: str, cards: Sequence[ModelCard]
) -> dict[str, object]:
    """What a trial keeps of its judge: who, which model, a warning, the rubric's texts.

    Raises:
        InvalidInput: A judge is missing, or not wanted.
        NotFound: There is no such teacher.
    """
    if scorer is not SuiteScorer.JUDGE:
        if judge:
            raise InvalidInput("This suite is not scored by a judge.", "Leave the judge out.")
        return {}
    if not judge:
        known = ", ".join(config.name for config in workspace.teachers.page(actor)) or "none yet"
        raise InvalidInput(
            "This suite is scored by a judge, and none was chosen.",
            f"Choose a teacher as the judge. Known are: {known}.",
        )
    return {
        "judge": judge,
        "judge_model": workspace.teachers.config(judge).model,
        "judge_warning": warning(workspace, judge, cards),
        "rubric": load_rubric().model_dump(mode="json"),
    }


def warning(workspace: Workspace, judge: str, cards: Sequence[ModelCard]) -> str:
    """A sentence where the judge is a relative of a model it scores; '' where none is known."""
    model = workspace.teachers.config(judge).model
    return family_warning(
        model, [_full_name(workspace, card) for card in cards], "the scored model"
    )


def judge_answers(work: TrialWork, card: ModelCard, model: ChatModel, missing: Missing) -> None:
    """Have a model write what it has not written yet, then the judge score all that waits.

    Raises:
        StudioError: The judge cannot be asked (its key is gone).
    """
    work.say(f"loading {work.trial.judge}")
    judge = work.asking.teacher(work.trial.judge)
    there = work.drafts(card)
    wanted = {(item.number, sample): item for item, sample in missing}
    to_write = [(item, sample) for (n, sample), item in wanted.items() if (n, sample) not in there]
    work.skip_writing(len(wanted) - len(to_write))
    asyncio.run(work.write(card, model, to_write))
    drafts = {key: draft for key, draft in work.drafts(card).items() if key in wanted}
    asyncio.run(_judge_all(work, card, judge, drafts, wanted))


async def _judge_all(
    work: TrialWork,
    card: ModelCard,
    judge: ChatModel,
    drafts: dict[tuple[int, int], SuiteAnswer],
    items: dict[tuple[int, int], SuiteItem],
) -> None:
    rubric = Rubric.model_validate(work.trial.rubric)
    by_key = {f"{number}/{sample}": (number, sample) for number, sample in drafts}
    requests = [
        rubric_request(
            key,
            items[place].messages,
            drafts[place].answer,
            rubric=rubric,
            reference=items[place].reference,
        )
        for key, place in by_key.items()
    ]
    async for reply in judge.generate(requests, work.context.cancel):
        judged = _judged(drafts[by_key[reply.key]], reply, rubric)
        work.keep(card, [judged])
    work.context.cancel.raise_if_cancelled()


def _judged(draft: SuiteAnswer, reply: ChatReply, rubric: Rubric) -> SuiteAnswer:
    """The answer with its score, from 0 (1 in each aspect) to 1 (5 in each)."""
    fresh = {"error": "", "judged": reply.text}
    if not reply.is_ok:
        error = f"The judge could not answer: {reply.error or reply.error_code}"
        return draft.model_copy(update=fresh | {"error": error})
    try:
        found = read_scores(reply.text, rubric)
    except Unreadable as err:
        error = f"What the judge wrote cannot be read: {err.user_message}"
        return draft.model_copy(update=fresh | {"error": error})
    said = ", ".join(f"{aspect.label} {found.scores[aspect.name]}" for aspect in rubric.aspects)
    reason = f"{said}. {found.reason}".strip()
    return draft.model_copy(
        update=fresh | {"score": (found.overall - 1) / (BEST - 1), "reason": reason}
    )


def _full_name(workspace: Workspace, card: ModelCard) -> str:
    """A model's id; of a student its name with what it grew from."""
    role, _, name = card.id.partition(":")
    if role == ModelRole.TEACHER:
        return workspace.teachers.config(name).model
    if role == ModelRole.BASE:
        return card.model
    return origins.named_with_root(workspace, name, card.label)
