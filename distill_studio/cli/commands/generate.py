"""`generate` lets teachers answer; `teacher` lists, adds, tests and removes them."""

from typing import Annotated, Any

import typer

from distill_studio.cli import filters
from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import clean, facts, table
from distill_studio.cli.waiting import Job, check_detach, finish
from distill_studio.core.errors import NotFound
from distill_studio.core.records import TeacherConfig, TeacherKind

Name = Annotated[str, typer.Argument(help="The teacher's name.")]


def add_to(app: typer.Typer) -> None:
    """Add `generate` and the group `teacher`."""
    app.command("generate")(generate)
    group = typer.Typer(no_args_is_help=True, help="List, add, test and remove teachers.")
    group.command("list")(list_teachers)
    group.command("add")(add)
    group.command("test")(test)
    group.command("delete")(delete)
    app.add_typer(group, name="teacher")


def generate(
    ctx: typer.Context,
    teacher: Annotated[
        list[str] | None, typer.Option(help="Who answers; may be repeated (default: the first).")
    ] = None,
    recipe: Annotated[str, typer.Option(help="How: direct, best_of_n, ...")] = "direct",
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
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for its end.")] = False,
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
    arguments: dict[str, Any] = {
        "teachers": teacher or [_first_teacher(session)],
        "recipe": recipe,
        "n": n,
        "sampling": {name: value for name, value in sampling.items() if value is not None},
        "system_prompt": system,
        "seeds": {
            "topic": topic,
            "source": source,
            "search": search,
            "limit": limit,
            "only_unanswered": not again,
        },
    }
    if preview:
        seen = session.call("generate_preview", **arguments)
        session.answer(seen, lambda: facts(seen))
        return
    job = finish(session, session.call("generate_start", **arguments), detach=detach)
    session.answer(job, lambda: _show(session, job))


def _show(session: Session, job: Job) -> None:
    if job["state"] != "done":
        print(f"Started. See how it goes: jobs show {job['id']}")
        return
    print(", ".join(f"{name} {clean(value)}" for name, value in job["result"].items()))
    for row in session.call("generate_reasons", job_id=job["id"]):
        print(f"  {row['count']} failed at {clean(row['teacher'])}: {clean(row['reason'])}")


def _first_teacher(session: Session) -> str:
    teachers = session.call("teachers_page")
    if not teachers:
        raise NotFound("There is no teacher yet.", "Add one: teacher add NAME --url URL --model ID")
    return str(teachers[0]["name"])


def list_teachers(ctx: typer.Context) -> None:
    """The teachers of this workspace."""
    session = session_of(ctx)
    rows = session.call("teachers_page")
    columns = {"name": "name", "kind": "kind", "model": "model", "base_url": "url"}
    session.answer(rows, lambda: table(rows, columns))


def add(
    ctx: typer.Context,
    name: Name,
    model: Annotated[str, typer.Option(help="Model id (a local folder works too).")],
    url: Annotated[
        list[str] | None,
        typer.Option(help="OpenAI-compatible URL, repeatable; none = on this machine."),
    ] = None,
    key_env: Annotated[str, typer.Option(help="Variable that holds the key.")] = "",
    concurrency: Annotated[int, typer.Option(help="Requests in flight.", min=1)] = 8,
    timeout_s: Annotated[float, typer.Option(help="Seconds per request.")] = 120.0,
    licence_note: Annotated[str, typer.Option(help="Terms on training with its answers.")] = "",
    requests_per_min: Annotated[int, typer.Option(help="0 = no limit.", min=0)] = 0,
    tokens_per_min: Annotated[int, typer.Option(help="0 = no limit.", min=0)] = 0,
    price_in: Annotated[float | None, typer.Option(help="USD per million tokens read.")] = None,
    price_out: Annotated[float | None, typer.Option(help="USD per million written.")] = None,
    spend_limit_usd: Annotated[float, typer.Option(help="Per generation; 0 = none.")] = 0.0,
) -> None:
    """Add a teacher, or replace the one of that name. Keys stay in the environment."""
    session = session_of(ctx)
    urls = url or []
    config = TeacherConfig(
        name=name,
        kind=TeacherKind.OPENAI if urls else TeacherKind.LOCAL,
        model=model,
        base_url=urls[0] if urls else "",
        base_urls=tuple(urls[1:]),
        key_env=key_env,
        concurrency=concurrency,
        timeout_s=timeout_s,
        licence_note=licence_note,
        requests_per_min=requests_per_min,
        tokens_per_min=tokens_per_min,
        price_in=price_in,
        price_out=price_out,
        spend_limit_usd=spend_limit_usd,
    )
    saved = session.call("teachers_save", teacher=config.model_dump(mode="json"))
    session.answer(saved, lambda: print(f"Saved the teacher {clean(saved['name'])}."))


def test(ctx: typer.Context, name: Name) -> None:
    """Ask a teacher one short question."""
    session = session_of(ctx)
    result = session.call("teachers_test", name=name)
    session.answer(result, lambda: facts(result))


def delete(ctx: typer.Context, name: Name) -> None:
    """Forget a teacher; its answers stay."""
    session = session_of(ctx)
    session.call("teachers_delete", name=name)
    session.answer({"deleted": name}, lambda: print(f"Forgot the teacher {name}."))
