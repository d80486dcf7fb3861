"""`generate` lets teachers answer; `recipes` lists the ways to ask."""

from typing import Annotated, Any

import typer

from distill_studio.cli import filters
from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import clean, facts, table
from distill_studio.cli.waiting import Detach, Job, check_detach, finish
from distill_studio.core.errors import InvalidInput, NotFound


def add_to(app: typer.Typer) -> None:
    """Add `generate` and `recipes`."""
    app.command("generate")(generate)
    app.command("recipes")(recipes)


def generate(
    ctx: typer.Context,
    teacher: Annotated[
        list[str] | None, typer.Option(help="Who answers; may be repeated (default: the first).")
    ] = None,
    recipe: Annotated[str, typer.Option(help="How; `recipes` lists them.")] = "direct",
    option: Annotated[
        list[str] | None, typer.Option(help="A setting of the recipe, NAME=VALUE; repeatable.")
    ] = None,
    judge: Annotated[str, typer.Option(help="The teacher that judges, where one does.")] = "",
    examples: Annotated[int, typer.Option(help="Accepted answers shown first, 0 to 8.")] = 0,
    n: Annotated[int, typer.Option("--n", help="Answers per prompt and teacher.")] = 1,
    temperature: Annotated[float | None, typer.Option(help="0 = greedy.")] = None,
    top_p: Annotated[float | None, typer.Option()] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="For repeatable sampling.")] = None,
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    topic: filters.Topic = "",
    source: filters.Source = "",
    search: Annotated[str, typer.Option(help="Part of the prompt.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many prompts; 0 = all.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Ask answered prompts as well.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show the first request; send nothing.")
    ] = False,
    try_out: Annotated[
        bool, typer.Option("--try", help="Dry run on three prompts; store nothing.")
    ] = False,
    detach: Detach = False,
) -> None:
    """Let teachers answer prompts; what is answered already is left out."""
    session = session_of(ctx)
    check_detach(session, detach)
    sampling = {
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    wish: dict[str, Any] = {
        "teachers": teacher or [_first_teacher(session)],
        "recipe": recipe,
        "n": n,
        "sampling": {name: value for name, value in sampling.items() if value is not None},
        "system_prompt": system,
        "options": dict(_option(each) for each in option or []),
        "judge": judge,
        "examples": examples,
        "seeds": {
            "topic": topic,
            "source": source,
            "search": search,
            "limit": limit,
            "only_unanswered": not again,
        },
    }
    if preview:
        seen = session.call("generate_preview", wish=wish)
        session.answer(seen, lambda: facts(seen))
        return
    if try_out:
        job = finish(session, session.call("generate_try_out", wish=wish), detach=False)
        session.answer(job, lambda: _show_trial(job))
        return
    job = finish(session, session.call("generate_start", wish=wish), detach=detach)
    session.answer(job, lambda: _show(session, job))


def _show(session: Session, job: Job) -> None:
    if job["state"] != "done":
        print(f"Started. See how it goes: jobs show {job['id']}")
        return
    print(", ".join(f"{name} {clean(value)}" for name, value in job["result"].items()))
    for row in session.call("generate_reasons", job_id=job["id"]):
        print(f"  {row['count']} failed at {clean(row['teacher'])}: {clean(row['reason'])}")


def _show_trial(job: Job) -> None:
    for tried in job["result"].get("tried", []):
        print(f"{clean(tried['prompt'])}")
        if tried["failure"]:
            print(f"  nothing kept: {clean(tried['failure'])}")
        for pair in tried["pairs"]:
            print(f"  asked: {clean(pair['messages'][-1]['content'])}")
            print(f"  answer: {clean(pair['answer'])}")


def recipes(ctx: typer.Context) -> None:
    """The recipes and their settings."""
    session = session_of(ctx)
    rows = session.call("recipes_page")
    shown = [
        {
            "name": row["name"],
            "summary": row["summary"],
            "options": ", ".join(f"{o['name']}={o['default']}" for o in row["options"]),
        }
        for row in rows
    ]
    columns = {"name": "name", "options": "options", "summary": "what it does"}
    session.answer(rows, lambda: table(shown, columns))


def _option(text: str) -> tuple[str, float | str]:
    """`NAME=VALUE`; a value that is a number counts as one."""
    name, mark, value = text.partition("=")
    if not mark:
        raise InvalidInput(f"'{text}' is no setting.", "Write --option NAME=VALUE.")
    try:
        return name.strip(), float(value)
    except ValueError:
        return name.strip(), value.strip()


def _first_teacher(session: Session) -> str:
    teachers = session.call("teachers_page")
    if not teachers:
        raise NotFound("There is no teacher yet.", "Add one: teacher add NAME --url URL --model ID")
    return str(teachers[0]["name"])
