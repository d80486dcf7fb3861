"""`import`: a file's prompts and answers into the workspace."""

from pathlib import Path
from typing import Annotated, Any

import typer

from distill_studio.cli.client import check_file
from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import clean
from distill_studio.cli.waiting import finish
from distill_studio.core.errors import InvalidInput

_SHOWN_PROBLEMS = 20
# of `import-hub` as well
Accept = Annotated[bool, typer.Option("--accept", help="Mark the answers as accepted.")]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", help="Correct a column: prompt=question. May be repeated."),
]
VotesOf = Annotated[
    str, typer.Option(help="Judge of comparisons: its votes stay apart from people's.")
]


def add_to(app: typer.Typer) -> None:
    """Add `import`."""
    app.command("import")(import_file)


def import_file(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="JSONL, JSON, CSV, Parquet, text, or a ZIP of texts.")
    ],
    accept: Accept = False,
    map_: Map = None,
    split: Annotated[
        int, typer.Option("--split", help="Cut conversations longer than about N tokens.")
    ] = 0,
    passage_words: Annotated[
        int, typer.Option("--passage-words", help="Words in a passage of a text (default 350).")
    ] = 0,
    judge: VotesOf = "",
    source: Annotated[str, typer.Option(help="Source name (default: the file's).")] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Look; store nothing.")] = False,
) -> None:
    """Import prompts, answers, preferences and texts; rows that cannot go in are named."""
    session = session_of(ctx)
    upload_id = session.client.upload(check_file(file))
    changes = changes_of(map_ or [])
    options = {"split_tokens": split, "passage_words": passage_words, "default_judge": judge}
    changes |= {name: value for name, value in options.items() if value}
    if preview:
        seen = _preview(session, upload_id, changes)
        session.answer(seen, lambda: show_preview(seen))
        return
    mapping = _preview(session, upload_id, changes)["mapping"] if changes else None
    job = session.call(
        "seeds_import_start",
        upload_id=upload_id,
        mapping=mapping,
        mark_accepted=accept,
        source=source,
    )
    report = finish(session, job)["result"]
    session.answer(report, lambda: show_report(report))


def _preview(session: Session, upload_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = session.call("seeds_preview", upload_id=upload_id)
    if changes:
        mapping = seen["mapping"] | changes
        seen = session.call("seeds_preview", upload_id=upload_id, mapping=mapping)
    return seen


def changes_of(pairs: list[str]) -> dict[str, Any]:
    """The mapping's fields that `part=column` change.

    Raises:
        InvalidInput: One names no column.
    """
    changes: dict[str, Any] = {}
    for pair in pairs:
        part, sign, column = pair.partition("=")
        if not sign:
            raise InvalidInput(f"'{pair}' says no column.", "Write --map part=column.")
        is_switch = column.lower() in ("true", "false") and part == "split_thinking"
        changes[part] = column.lower() == "true" if is_switch else column
    return changes


def show_preview(seen: dict[str, Any]) -> None:
    """Print an import preview."""
    print(f"{seen['file_name']}: {seen['format']}, {seen['layout'] or 'layout not recognised'}")
    for part, column in seen["mapping"].items():
        if column:
            print(f"  {part} = {clean(column)}")
    where = "row" if seen["format"] in ("parquet", "hub") else "line"
    for example in seen["examples"][:3]:
        print(f"{where} {example['line']}: {clean(example['prompt'], 100)}")
        for answer in example["answers"]:
            print(f"  -> {clean(answer, 100)}")
    if seen["hint"]:
        print(clean(seen["hint"]))
    _show_problems(seen["counts"])


def show_report(report: dict[str, Any]) -> None:
    """Print an import report."""
    counts = report["counts"]
    print(
        f"{counts['rows']} rows: {counts['seeds_new']} new prompts"
        f" ({counts['seeds_known']} known), {counts['pairs_new']} new answers"
        f" ({counts['pairs_known']} known), {counts['preferences']} preferences,"
        f" {counts['accepted']} accepted."
    )
    if counts["split"]:
        print(f"{counts['split']} long conversations cut into several.")
    _show_problems(counts)


def _show_problems(counts: dict[str, Any]) -> None:
    for rows, total, what in (
        (counts["problems"], counts["problem_count"], "could not go in"),
        (counts["remarks"], counts["remark_count"], "with a remark"),
    ):
        if total:
            print(f"{total} rows {what}:")
        for row in rows[:_SHOWN_PROBLEMS]:
            print(f"  line {row['line']}: {clean(row['reason'])}")
        if total > _SHOWN_PROBLEMS:
            print("  ... (all with --json)")
