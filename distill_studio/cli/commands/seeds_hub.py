"""`import-hub`: rows of a dataset of the Hugging Face Hub into the workspace."""

from typing import Annotated, Any

import typer

from distill_studio.cli.commands import seeds
from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean, facts
from distill_studio.cli.waiting import Detach, check_detach, finish


def add_to(app: typer.Typer) -> None:
    """Add `import-hub`."""
    app.command("import-hub")(import_hub)


def import_hub(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Its id, or the address of its page.")],
    config: Annotated[str, typer.Option(help="Configuration (default: its default one).")] = "",
    split: Annotated[str, typer.Option(help="Split (default: train, or the first).")] = "",
    revision: Annotated[str, typer.Option(help="Branch, tag or commit (default: main).")] = "",
    rows: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 10_000,
    accept: seeds.Accept = False,
    map_: seeds.Map = None,
    judge: seeds.VotesOf = "",
    source: Annotated[
        str, typer.Option(help="Source name (default: dataset with its commit).")
    ] = "",
    preview: Annotated[
        bool, typer.Option("--preview", help="What it offers and its first rows; store nothing.")
    ] = False,
    detach: Detach = False,
) -> None:
    """Import rows of a Hub dataset, streamed. HF_TOKEN (of the app) opens private ones."""
    session = session_of(ctx)
    check_detach(session, detach)
    place: dict[str, Any] = {
        "dataset": dataset,
        "config": config,
        "split": split,
        "revision": revision,
        "most_rows": rows,
    }
    found = session.call("seeds_hub_look", place=place)
    place |= {part: found[part] for part in ("dataset", "config", "split", "revision", "commit")}
    changes = seeds.changes_of(map_ or []) | ({"default_judge": judge} if judge else {})
    mapping = None
    if preview or changes:
        seen = session.call("seeds_hub_preview", place=place)
        if changes:
            mapping = seen["mapping"] | changes
            seen = session.call("seeds_hub_preview", place=place, mapping=mapping)
    if preview:
        session.answer({"listing": found, "preview": seen}, lambda: _show(found, seen))
        return
    arguments = {"place": place, "mapping": mapping, "mark_accepted": accept, "source": source}
    job = finish(session, session.call("seeds_hub_import", **arguments), detach=detach)
    if detach:
        session.answer(job, lambda: print(f"Started. See how it goes: jobs show {job['id']}"))
        return
    session.answer(job["result"], lambda: seeds.show_report(job["result"]))


def _show(found: dict[str, Any], seen: dict[str, Any]) -> None:
    facts({
        "revision": f"{clean(found['revision'])}, commit {found['commit']}",
        "configurations": clean(", ".join(found["configs"]), 300),
        f"splits of {clean(found['config'])}": clean(", ".join(found["splits"]), 300),
        "licence": clean(found["license"]) or "not said",
    })
    seeds.show_preview(seen)
