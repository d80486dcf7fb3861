"""`demo`: the whole pass by itself, in a workspace of its own."""

from typing import Any

import typer

from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean
from distill_studio.cli.waiting import Detach, check_detach, finish

_WORKSPACE = "demo"


def add_to(app: typer.Typer) -> None:
    """Add `demo`."""
    app.command("demo")(demo)


def demo(
    ctx: typer.Context,
    detach: Detach = False,
) -> None:
    """Train a student from built-in prompts and compare it with its teacher (some minutes)."""
    session = session_of(ctx)
    check_detach(session, detach)
    job = session.call("demo_start")
    session.client.workspace = _WORKSPACE
    ended = finish(session, job, detach=detach)
    comparisons = [] if detach else session.call("evaluate_page", limit=2)
    session.answer({"job": ended, "comparisons": comparisons}, lambda: _show(ended, comparisons))


def _show(job: Any, comparisons: list[dict[str, Any]]) -> None:  # noqa: ANN401  (a job as JSON)
    for stage, fact in job["result"].get("facts", {}).items():
        print(f"{stage:<9} {clean(fact)}")
    for made in comparisons:
        print(f"\n> {clean(made['messages'][-1]['content'])}")
        for answer in made["answers"]:
            print(f"{clean(answer['card']['label'])}: {clean(answer['text'], 300)}")
    print(f"\nLook around with: --workspace {_WORKSPACE}")
