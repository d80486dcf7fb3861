"""From what a person wishes to a plan that can work, with a clear word where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import ChatRequest, SamplingParams
from distill_studio.core.records import Record, Seed, TeacherKind, UserTurn
from distill_studio.generate.chat_templates import AUTO, guessed, known_turn
from distill_studio.generate.effects import Ask, Draw, Dropped
from distill_studio.generate.prompts import OptionValue, Prompts
from distill_studio.generate.recipes.base import request_for
from distill_studio.judge import family_warning
from distill_studio.services.generation_help import GenerationHelp, examples
from distill_studio.services.generation_plan import GenerationPlan
from distill_studio.store import generation as table
from distill_studio.store.generation import SeedFilter
from distill_studio.teachers.openai_compatible import OpenAIChatModel

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_MOST_EXAMPLES = 8


class GenerationWish(Record):
    """What a person wants asked, as given."""

    teachers: list[str] = Field(description="Names; asked side by side.")
    recipe: str = Field(default="direct", description="Key of the recipe.")
    n: int = Field(
        default=1, description="Answers per seed and teacher, where the recipe lets one choose."
    )
    sampling: SamplingParams = Field(default=SamplingParams(), description="How to sample.")
    system_prompt: str = Field(default="", description="Put before seeds that have none.")
    seeds: SeedFilter = Field(default=SeedFilter(), description="Which seeds.")
    options: dict[str, OptionValue] = Field(
        default_factory=dict, description="The recipe's own settings, by name."
    )
    judge: str = Field(default="", description="The teacher that judges, where one does.")
    examples: int = Field(
        default=0, description="So many accepted answers are shown to the teacher first."
    )


def make_plan(workspace: Workspace, wish: GenerationWish) -> GenerationPlan:
    """The plan, without its seeds.

    Raises:
        InvalidInput: The settings cannot work; says what to change.
        NotFound: No such teacher or recipe.
    """
    names = tuple(dict.fromkeys(wish.teachers))
    if not names:
        raise InvalidInput("No teacher is chosen.", "Pick at least one.")
    for name in names:
        workspace.teachers.config(name)
    prompts = workspace.recipes.in_force(wish.recipe)
    if wish.n < 1:
        raise InvalidInput("At least one answer per seed is needed.")
    judge = _judge(prompts, wish.judge, names[0])
    if judge:
        workspace.teachers.config(judge)
    options = prompts.chosen(wish.options)
    texts = {text.name: text.text for text in prompts.texts}
    is_auto = options.get("template") == AUTO
    plan = GenerationPlan(
        teachers=names,
        recipe=wish.recipe,
        version=prompts.version,
        n=wish.n,
        sampling=wish.sampling,
        system_prompt=wish.system_prompt.strip(),
        texts=texts,
        options=options,
        turns={name: _turn(workspace, name, texts) for name in names} if is_auto else {},
        judge=judge,
        examples=_examples(workspace, wish),
    )
    if plan.samples > 1 and not prompts.has_steps and wish.sampling.temperature == 0:
        raise InvalidInput(
            "With temperature 0 all candidates of a seed would be the same.",
            "Raise the temperature, or ask for one answer.",
        )
    return plan


def fitting(plan: GenerationPlan, seeds: SeedFilter) -> SeedFilter:
    """The filter, narrowed to what the recipe can work on and has not been through yet."""
    prompts = plan.prompts
    not_through = plan.recipe if prompts.has_steps and seeds.only_unanswered else ""
    return seeds.model_copy(
        update={
            "only_verifiable": seeds.only_verifiable or prompts.is_verified,
            "not_through": not_through,
        }
    )


def is_local(workspace: Workspace, plan: GenerationPlan) -> bool:
    """Whether this machine itself computes."""
    kinds = {workspace.teachers.config(name).kind for name in plan.everyone}
    return TeacherKind.LOCAL in kinds


def judge_warning(workspace: Workspace, plan: GenerationPlan) -> str:
    """A sentence where the judge is a relative of a teacher; '' where nothing is known of it."""
    if not plan.judge:
        return ""
    models = [workspace.teachers.config(name).model for name in plan.teachers]
    return family_warning(workspace.teachers.config(plan.judge).model, models)


def first_request(workspace: Workspace, plan: GenerationPlan, seed: Seed) -> dict[str, Any] | None:
    """What is sent first, in the form that the teacher gets; None where nothing is asked."""
    request = _request(workspace, plan, seed)
    if request is None:
        return None
    config = workspace.teachers.config(plan.teachers[0])
    if config.kind is TeacherKind.LOCAL:
        return {
            "model": config.model,
            "messages": [m.model_dump() for m in request.messages],
            "sampling": request.sampling.model_dump(mode="json"),
        } | ({"raw": request.raw} if request.raw else {})
    has_key = config.needs_key or bool(config.key_env)
    model = OpenAIChatModel(config)
    return {
        "method": "POST",
        "url": f"{config.base_url}{model.path(request)}",
        "headers": {"Authorization": "Bearer [key]"} if has_key else {},
        "body": model.body(request),
    }


def _request(workspace: Workspace, plan: GenerationPlan, seed: Seed) -> ChatRequest | None:
    """The first request of the first unit: examples are drawn as they would be."""
    unit = next(plan.units_for(0, [seed]))
    settings = plan.settings(examples(workspace.db, plan.examples))
    steps = plan.recipe_object.steps(unit, settings)
    helper = GenerationHelp(workspace, plan.selection, "")
    effect: Any = None
    try:
        effect = next(steps, None)
        while isinstance(effect, Draw):
            effect = steps.send(helper.draw(unit, effect))
    except (StopIteration, Dropped):  # it asks nothing of this seed
        return None
    finally:
        steps.close()
    if isinstance(effect, tuple):
        effect = next((each for each in effect if isinstance(each, Ask)), None)
    return request_for(unit, effect, settings) if isinstance(effect, Ask) else None


def _turn(workspace: Workspace, name: str, texts: dict[str, str]) -> UserTurn:
    """A teacher's chat template: its own where it is at hand, else by the model's name.

    Raises:
        InvalidInput: The name says nothing.
    """
    config = workspace.teachers.config(name)
    models = workspace.studio.models
    if config.kind is TeacherKind.LOCAL and models.is_here(config.model):
        return models.chat_model(config.model).user_turn()
    template = guessed(config.model)
    if not template:
        raise InvalidInput(
            f"The chat template of {config.model} is not known.",
            "Choose the one of its family under Chat template, or edit the texts of one.",
        )
    return known_turn(template, texts)


def _judge(prompts: Prompts, wished: str, teacher: str) -> str:
    if prompts.needs_judge:
        return wished or teacher
    return wished if prompts.may_judge else ""


def _examples(workspace: Workspace, wish: GenerationWish) -> tuple[str, ...]:
    if not 0 <= wish.examples <= _MOST_EXAMPLES:
        raise InvalidInput(f"Choose 0 to {_MOST_EXAMPLES} examples.")
    if not wish.examples:
        return ()
    found = table.choose_examples(workspace.db, wish.examples, wish.sampling.seed or 0)
    if not found:
        raise InvalidInput(
            "No accepted answer can serve as an example yet.",
            "Accept some in Review first, or ask for none.",
        )
    return tuple(found)
