"""`teacher` lists, adds, tests and removes teachers, and tells what they were asked."""

from typing import Annotated, Any

import typer

from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean, facts, table
from distill_studio.core.records import TeacherConfig, TeacherKind

Name = Annotated[str, typer.Argument(help="The teacher's name.")]


def add_to(app: typer.Typer) -> None:
    """Add the group `teacher`."""
    group = typer.Typer(no_args_is_help=True, help="List, add, test and remove teachers.")
    group.command("list")(list_teachers)
    group.command("add")(add)
    group.command("test")(test)
    group.command("delete")(delete)
    group.command("asked")(asked)
    app.add_typer(group, name="teacher")


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
    """Ask a teacher one short question, at each of its addresses."""
    session = session_of(ctx)
    result = session.call("teachers_test", name=name)
    session.answer(result, lambda: _show_test(result))


def _show_test(result: dict[str, Any]) -> None:
    facts({field: value for field, value in result.items() if field != "urls"})
    if len(result["urls"]) > 1:
        print()
        rows = [
            each
            | {
                "state": "ok" if each["ok"] else "error",
                "came": " ".join(filter(None, (each["message"], each["hint"]))),
            }
            for each in result["urls"]
        ]
        columns = {"url": "address", "state": "state", "came": "what came", "latency_ms": "ms"}
        table(rows, columns)


def delete(ctx: typer.Context, name: Name) -> None:
    """Forget a teacher; its answers stay."""
    session = session_of(ctx)
    session.call("teachers_delete", name=name)
    session.answer({"deleted": name}, lambda: print(f"Forgot the teacher {name}."))


def asked(
    ctx: typer.Context,
    job: Annotated[str, typer.Option(help="Of one generation; without it of all.")] = "",
) -> None:
    """What each teacher was asked: requests, tokens, cost, failures; useless replies too."""
    session = session_of(ctx)
    rows = session.call("generate_asked", job_id=job)
    columns = {
        "teacher": "teacher", "requests": "requests", "prompt_tokens": "read",
        "completion_tokens": "written", "cost_usd": "USD", "busy_s": "busy, s",
        "failures": "no use",
    }  # fmt: skip
    session.answer(rows, lambda: table(rows, columns))
