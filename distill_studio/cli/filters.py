"""The options that choose pairs, the same for every command that takes a filter."""

from typing import Annotated, Any

import typer

from distill_studio.core.records import Curation, PairStatus

Status = Annotated[PairStatus | None, typer.Option(help="Decided how.")]
Kept = Annotated[Curation | None, typer.Option("--curation", help="What curate says.")]
Teacher = Annotated[str, typer.Option("--from", help="Answers of this teacher.")]
RecipeName = Annotated[str, typer.Option("--by", help="Answers made by this recipe.")]
Topic = Annotated[str, typer.Option(help="Exact topic.")]
Source = Annotated[str, typer.Option(help="Exact source, such as a file's name.")]
JobId = Annotated[str, typer.Option("--job", help="Made by this job.")]
SeedId = Annotated[str, typer.Option("--seed", help="Answers to this seed.")]
Search = Annotated[str, typer.Option(help="Part of prompt or answer, any case.")]


def pair_query(
    *,
    status: PairStatus | None = None,
    curation: Curation | None = None,
    teacher: str = "",
    recipe: str = "",
    topic: str = "",
    source: str = "",
    job_id: str = "",
    seed_id: str = "",
    search: str = "",
) -> dict[str, Any]:
    """A pair query as JSON, with only the fields that restrict."""
    texts = {
        "teacher": teacher,
        "recipe": recipe,
        "topic": topic,
        "source": source,
        "job_id": job_id,
        "seed_id": seed_id,
        "search": search,
    }
    query: dict[str, Any] = {name: text for name, text in texts.items() if text}
    if status is not None:
        query["status"] = status.value
    if curation is not None:
        query["curation"] = curation.value
    return query
