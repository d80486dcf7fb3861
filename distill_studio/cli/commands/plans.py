"""`stages` and `sweep`: several trainings as one; `plan` shows, stops and resumes them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from distill_studio.cli.commands.training import settings_of
from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean
from distill_studio.cli.waiting import Detach, check_detach, finish
from distill_studio.core.errors import InvalidInput


def add_to(app: typer.Typer) -> None:
    """Add `stages`, `sweep` and `plan`."""
    app.command("stages")(stages)
    app.command("sweep")(sweep)
    app.command("plan")(plan)


def stages(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Of the plan; begins the names of its runs.")],
    file: Annotated[
        Path, typer.Argument(help="A JSON list of trainings, as `train` takes them.", exists=True)
    ],
    detach: Detach = False,
) -> None:
    """Train in stages (SFT, then distillation, then DPO ...), each from the student before."""
    session = session_of(ctx)
    check_detach(session, detach)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as err:
        raise InvalidInput(f"{file.name} is not JSON: {err}", "Write a list of objects.") from err
    if not isinstance(found, list):
        raise InvalidInput(f"{file.name} holds no list.", "Write [{...}, {...}].")
    made = session.call("plans_stages", name=name, stages=found)
    _follow(ctx, made, detach)


def sweep(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Of the plan; begins the names of its runs.")],
    snapshot: Annotated[str, typer.Argument(help="Name of a snapshot.")],
    grid: Annotated[
        list[str],
        typer.Option("--grid", help="learning_rate=1e-4,3e-4 (may be repeated)."),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting of `train`: method=logit. May be repeated."),
    ] = None,
    detach: Detach = False,
) -> None:
    """Train once for each combination of values, and compare them in one table."""
    session = session_of(ctx)
    check_detach(session, detach)
    spec = {"snapshot": snapshot} | settings_of(set_ or [])
    made = session.call("plans_sweep", name=name, spec=spec, grid=_grid(grid))
    _follow(ctx, made, detach)


def plan(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Of the plan; without one, all are listed.")] = "",
    stop: Annotated[bool, typer.Option("--stop", help="Stop it at a checkpoint.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    detach: Detach = False,
) -> None:
    """Show a plan with its table; stop or resume it."""
    session = session_of(ctx)
    if not name:
        found = session.call("plans_page")
        session.answer(found, lambda: _show_all(found))
        return
    if resume:
        check_detach(session, detach)
        _follow(ctx, session.call("plans_resume", name=name), detach)
        return
    view = session.call("plans_stop" if stop else "plans_get", name=name)
    session.answer(view, lambda: _show(view))


def _grid(given: list[str]) -> dict[str, list[float]]:
    """`learning_rate=1e-4,3e-4` as a field and its values."""
    found: dict[str, list[float]] = {}
    for one in given:
        field, _, values = one.partition("=")
        try:
            found[field] = [float(value) for value in values.split(",")]
        except ValueError as err:
            raise InvalidInput(
                f"'{one}' varies nothing.", "Write --grid name=value,value with numbers."
            ) from err
    return found


def _follow(ctx: typer.Context, made: dict[str, Any], detach: bool) -> None:
    session = session_of(ctx)
    finish(session, session.call("jobs_get", job_id=made["plan"]["job_id"]), detach=detach)
    view = session.call("plans_get", name=made["plan"]["name"])
    session.answer(view, lambda: _show(view))


def _show_all(found: list[dict[str, Any]]) -> None:
    for view in found:
        _show_line(view)


def _show_line(view: dict[str, Any]) -> None:
    done = sum(row["state"] == "done" for row in view["rows"])
    print(f"{clean(view['plan']['name'])}: {view['state']}, {done} of {len(view['rows'])} done")


def _show(view: dict[str, Any]) -> None:
    _show_line(view)
    for row in view["rows"]:
        settings = ", ".join(f"{k} {clean(v)}" for k, v in row["settings"].items())
        figures = [
            f"{key.removesuffix('_after')} {row['metrics'][key]:.4f}"
            for key in ("loss_after", "ce_after", "kl_after", "margin_after")
            if isinstance(row["metrics"].get(key), float)
        ]
        best = "  <- best" if row["is_best"] else ""
        print(f"  {clean(row['run'])} [{row['state']}] {settings}: {', '.join(figures)}{best}")
    if view["measure"]:
        print(f"  compared by {view['measure']['label']}")
