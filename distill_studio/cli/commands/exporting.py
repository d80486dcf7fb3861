"""`export`: pairs, preferences, snapshots and models as files."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from distill_studio.cli import filters
from distill_studio.cli.session import Session, session_of
from distill_studio.cli.waiting import finish
from distill_studio.core.errors import InvalidInput

OutFile = Annotated[
    Path, typer.Option("-o", "--output", help="The file; its ending says the kind.")
]


class Weights(StrEnum):
    """Which form of a trained model."""

    MERGED = "merged"
    ADAPTER = "adapter"


class Tool(StrEnum):
    """For which trainer."""

    LLAMA_FACTORY = "llama-factory"
    AXOLOTL = "axolotl"
    UNSLOTH = "unsloth"


class GgufType(StrEnum):
    """In which number format."""

    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q4_1 = "q4_1"
    Q4_0 = "q4_0"


class Style(StrEnum):
    """How a pair is written."""

    MESSAGES = "messages"
    PROMPT_COMPLETION = "prompt_completion"
    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"


def add_to(app: typer.Typer) -> None:
    """Add the group `export`."""
    group = typer.Typer(no_args_is_help=True, help="Write pairs, preferences, snapshots or models.")
    group.command("pairs")(pairs)
    group.command("preferences")(preferences)
    group.command("snapshot")(snapshot)
    group.command("trainer")(trainer)
    group.command("model")(model)
    group.command("gguf")(gguf)
    app.add_typer(group, name="export")


def pairs(
    ctx: typer.Context,
    output: OutFile,
    ids: Annotated[list[str] | None, typer.Argument(help="Only these pairs.")] = None,
    style: Annotated[Style, typer.Option(help="How a pair is written.")] = Style.MESSAGES,
    status: filters.Status = None,
    curation: filters.Kept = None,
    teacher: filters.Teacher = "",
    recipe: filters.RecipeName = "",
    topic: filters.Topic = "",
    source: filters.Source = "",
    job_id: filters.JobId = "",
    seed_id: filters.SeedId = "",
    search: filters.Search = "",
) -> None:
    """All pairs that match a filter (.jsonl or .parquet)."""
    query = filters.pair_query(
        status=status,
        curation=curation,
        teacher=teacher,
        recipe=recipe,
        topic=topic,
        source=source,
        job_id=job_id,
        seed_id=seed_id,
        search=search,
    )
    session = session_of(ctx)
    kind = _kind(output, "jsonl", "parquet")
    made = session.call(
        "export_pairs", format=kind, query=query, style=style.value, ids=ids or None
    )
    take(session, made, output)


def preferences(
    ctx: typer.Context,
    output: OutFile,
    outcome: Annotated[str, typer.Option(help="Only win, tie or both_bad.")] = "",
) -> None:
    """All preferences (.jsonl or .parquet)."""
    session = session_of(ctx)
    kind = _kind(output, "jsonl", "parquet")
    query = {"outcome": outcome}
    take(session, session.call("export_preferences", format=kind, query=query), output)


def snapshot(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The snapshot's name.")],
    output: OutFile,
) -> None:
    """A snapshot: the whole folder (.zip), or its rows (.jsonl or .parquet)."""
    session = session_of(ctx)
    kind = _kind(output, "zip", "jsonl", "parquet")
    take(session, session.call("export_snapshot", name=name, format=kind), output)


def trainer(
    ctx: typer.Context,
    tool: Annotated[Tool, typer.Argument(help="Which one.")],
    name: Annotated[str, typer.Argument(help="The snapshot's name.")],
    output: OutFile,
    model: Annotated[
        str, typer.Option(help="Who is to learn: an id on the Hub, or a folder where the tool is.")
    ] = "",
) -> None:
    """A snapshot for another trainer: rows, configuration and README in a .zip."""
    session = session_of(ctx)
    _kind(output, "zip")
    known = tool.value.replace("-", "_")
    take(session, session.call("export_neighbour", name=name, tool=known, model=model), output)


def model(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="Name of a finished run.")],
    output: OutFile,
    form: Annotated[Weights, typer.Option(help="Whole model or LoRA adapter.")] = Weights.MERGED,
) -> None:
    """A trained model as a folder in a .zip that `transformers` (or `peft`) loads."""
    session = session_of(ctx)
    _kind(output, "zip")
    take(session, session.call("export_student", run=run, kind=form.value), output)


def gguf(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(help="Name of a finished run.")],
    output: OutFile,
    type_: Annotated[GgufType, typer.Option("--type", help="Number format.")] = GgufType.F16,
) -> None:
    """A trained model as one .gguf file, for llama.cpp, Ollama and LM Studio."""
    session = session_of(ctx)
    _kind(output, "gguf")
    job = finish(session, session.call("export_gguf", run=run, type=type_.value))
    take(session, job["result"], output)


def take(session: Session, made: dict[str, Any], output: Path) -> None:
    """Bring an export to where it is wanted and say so."""
    if not output.absolute().parent.is_dir():
        raise InvalidInput(f"The folder of {output} is not there.", "Make it first.")
    session.client.fetch_export(made["name"], output)
    rows = "" if made.get("rows") is None else f"{made['rows']} rows, "
    lines = [f"{output}: {rows}{output.stat().st_size:,} bytes"]
    lines += [f"left out, {count} rows: {why}" for why, count in made.get("left_out", {}).items()]
    session.answer(made | {"output": str(output)}, lambda: print("\n".join(lines)))


def _kind(output: Path, *kinds: str) -> str:
    kind = output.suffix.lower().removeprefix(".")
    if kind not in kinds:
        endings = ", ".join(f".{k}" for k in kinds)
        raise InvalidInput(f"{output} does not say which kind of file.", f"End it with {endings}.")
    return kind
