"""`app` serves the page; `doctor` looks at this machine."""

from typing import Annotated, Any

import typer

from distill_studio.cli.session import session_of
from distill_studio.cli.show import facts


def add_to(app: typer.Typer) -> None:
    """Add `app` and `doctor`."""
    app.command("app")(serve)
    app.command("doctor")(doctor)


def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.", min=-1, max=65535)] = -1,
) -> None:
    """Serve the app in the browser until stopped."""
    from distill_studio.bootstrap import run_app  # noqa: PLC0415  (Gradio loads only for the app)

    changed: dict[str, Any] = {}
    if host:
        changed["host"] = host
    if port >= 0:
        changed["port"] = port
    raise typer.Exit(run_app(session_of(ctx).settings.model_copy(update=changed)))


def doctor(ctx: typer.Context) -> None:
    """Look at versions, device, models, data folder and disk; say what is missing."""
    from distill_studio.services.doctor import Report, examine  # noqa: PLC0415  (loads torch)

    session = session_of(ctx)
    report: Report = examine(session.settings)
    session.answer(report.model_dump(mode="json"), lambda: _show(report.model_dump(mode="json")))
    if not report.is_well:
        raise typer.Exit(1)


def _show(report: dict[str, Any]) -> None:
    packages = ", ".join(f"{name} {found}" for name, found in report["packages"].items() if found)
    device = report["device"]
    facts({
        "Distill Studio": report["version"],
        "Python": report["python"],
        "Platform": report["platform"],
        "Packages": packages,
        "CPU flags": " ".join(device["cpu_flags"]) or "none of note",
        "Memory": f"{device['memory_gib']} GiB",
    })
    print()
    for finding in report["findings"]:
        print(f"{finding['grade']:<8} {finding['name']}: {finding['message']}")
        if finding["remedy"]:
            print(f"         {finding['remedy']}")
