"""What a GGUF file says of a student beyond its weights: name, licence, origin."""

from dataclasses import dataclass

from distill_studio.core.cards import licence_fields
from distill_studio.core.records import Run
from distill_studio.distill.card import TERMS, ModelFacts


@dataclass(frozen=True)
class About:
    """The general facts of a file.

    Attributes:
        name: Of the model.
        description: In a sentence or two, terms included.
        licence: Identifier of the Hub's list, or other.
        licence_name: Of another licence.
        licence_link: To its text.
        base_model: Id on the Hub of what it comes from; may be empty.
        datasets: Ids on the Hub.
        tags: Words to be found by.
    """

    name: str
    description: str = ""
    licence: str = ""
    licence_name: str = ""
    licence_link: str = ""
    base_model: str = ""
    datasets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def about_student(run: Run, facts: ModelFacts) -> About:
    """The same as the head of its card says."""
    licence = licence_fields(facts.licence, facts.licence_name or TERMS, facts.licence_link)
    said = (
        f"A student trained with Distill Studio ({run.method.replace('_', '-')}).",
        *facts.notices,
        "The terms of its teachers and of the model it comes from apply.",
    )
    return About(
        name=run.name,
        description=" ".join(said),
        licence=licence["license"],
        licence_name=licence.get("license_name", ""),
        licence_link=licence.get("license_link", ""),
        base_model=facts.base_model,
        datasets=facts.datasets,
        tags=("distill-studio", "distillation", "text-generation"),
    )
