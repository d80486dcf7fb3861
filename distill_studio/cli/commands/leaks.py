"""`leaks`: benchmarks, the check of rows against them, reworded candidates and verdicts."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from distill_studio.cli.client import check_file
from distill_studio.cli.session import session_of
from distill_studio.cli.show import clean, facts, table
from distill_studio.cli.waiting import Detach, check_detach, finish

Names = Annotated[list[str] | None, typer.Argument(help="Benchmarks (default: all).")]
Limit = Annotated[int, typer.Option(min=1, max=200, help="Lines at most.")]
_PACKS = {"name": "benchmark", "items": "items", "unchecked": "to check", "source": "source"}
_KNOWN = {"name": "name", "dataset": "dataset", "config": "config", "split": "split"}
_HELD = {"dataset": "dataset", "what": "what would be added", "note": "note"}
_COLLECTED = {
    "dataset": "dataset",
    "name": "benchmark",
    "items": "items",
    "what": "what came of it",
}
_QUEUE = {
    "pack": "benchmark",
    "item": "item",
    "text_hash": "text",
    "similarity": "alike",
    "said": "said",
    "prompt": "prompt",
}


class Verdict(StrEnum):
    """What a person says of a candidate or a find."""

    LEAK = "leak"
    NOT_LEAK = "not_leak"
    CLEAR = "clear"


class Opinion(StrEnum):
    """What a model said of a candidate."""

    LEAK = "leak"
    NOT_LEAK = "not_leak"
    UNSURE = "unsure"
    FAILED = "failed"


def add_to(app: typer.Typer) -> None:
    """Add the group `leaks`."""
    group = typer.Typer(no_args_is_help=True, help="Look for benchmarks' questions in the rows.")
    group.command("list")(list_packs)
    group.command("known")(known)
    group.command("add")(add)
    group.command("get")(get)
    group.command("collection")(collection)
    group.command("forget")(forget)
    group.command("check")(check)
    group.command("find")(find)
    group.command("ask")(ask)
    group.command("report")(report)
    group.command("queue")(queue)
    group.command("judge")(judge)
    app.add_typer(group, name="leaks")


def list_packs(ctx: typer.Context) -> None:
    """Benchmarks that rows are checked against; own evaluation sets count by themselves."""
    session = session_of(ctx)
    packs = session.call("leaks_packs")
    session.answer(packs, lambda: table(packs, _PACKS, empty="No benchmark yet: leaks add FILE"))


def known(ctx: typer.Context) -> None:
    """Public benchmarks that `leaks get` fetches by name."""
    session = session_of(ctx)
    found = session.call("leaks_known")
    session.answer(found, lambda: table(found, _KNOWN))


def add(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSONL, JSON, CSV or Parquet.")],
    name: Annotated[str, typer.Option(help="Its name (default: the file's).")] = "",
    question: Annotated[str, typer.Option(help="Column of questions, where a guess errs.")] = "",
    answer: Annotated[str, typer.Option(help="Column of known answers.")] = "",
) -> None:
    """Add a file as a benchmark."""
    session = session_of(ctx)
    upload_id = session.client.upload(check_file(file))
    mapping = None
    if question or answer:
        guess = session.call("seeds_preview", upload_id=upload_id)["mapping"]
        mapping = {"prompt": question or guess["prompt"], "answer": answer}
    added = session.call("leaks_add", upload_id=upload_id, name=name or file.stem, mapping=mapping)
    session.answer(added, lambda: _show_added(added))


def get(
    ctx: typer.Context,
    benchmark: Annotated[str, typer.Argument(help="A name of `leaks known`, or a Hub dataset.")],
    name: Annotated[str, typer.Option(help="Of the benchmark here.")] = "",
    config: Annotated[str, typer.Option(help="Configuration of the dataset.")] = "",
    split: Annotated[str, typer.Option(help="Its test split.")] = "test",
) -> None:
    """Fetch a benchmark from the Hugging Face Hub; needs a network."""
    session = session_of(ctx)
    if "/" in benchmark:
        job = session.call(
            "leaks_add_hub", dataset=benchmark, name=name, config=config, split=split
        )
    else:
        job = session.call("leaks_add_known", name=benchmark)
    added = finish(session, job)["result"]
    session.answer(added, lambda: _show_added(added))


def collection(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(help="A collection's slug or address, or dataset ids with commas.")
    ],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Just this dataset. May be repeated.")
    ] = None,
    look: Annotated[bool, typer.Option("--look", help="Say what it holds; fetch nothing.")] = False,
    detach: Detach = False,
) -> None:
    """Add the benchmarks of a Hub collection in one go; those that cannot be are named."""
    session = session_of(ctx)
    check_detach(session, detach)
    if look:
        found = session.call("leaks_collection", collection=what)
        rows = [
            one | {"what": one["problem"] or ", ".join(one["known"]) or "test split, guessed"}
            for one in found["items"]
        ]
        session.answer(found, lambda: table(rows, _HELD, empty="It holds nothing."))
        return
    job = session.call("leaks_add_collection", collection=what, datasets=only or None)
    job = finish(session, job, detach=detach)
    if detach:
        session.answer(job, lambda: _started(job))
        return
    packs = [
        one | {"what": one["problem"] or ("added" if one["is_new"] else "was here already")}
        for one in job["result"]["packs"]
    ]
    session.answer(job["result"], lambda: table(packs, _COLLECTED))


def forget(ctx: typer.Context, name: Annotated[str, typer.Argument(help="Benchmark.")]) -> None:
    """Forget a benchmark and what was found with it; verdicts stay."""
    session = session_of(ctx)
    gone = session.call("leaks_delete", name=name)
    session.answer({"forgotten": gone}, lambda: print(f"Forgot {clean(gone)}."))


def check(ctx: typer.Context, names: Names = None, detach: Detach = False) -> None:
    """Check new and edited rows word for word."""
    session = session_of(ctx)
    check_detach(session, detach)
    job = finish(session, session.call("leaks_check", names=names or None), detach=detach)
    if detach:
        session.answer(job, lambda: _started(job))
        return
    checked = job["result"]["checked"]
    found = {name: session.call("leaks_report", name=name, limit=1) for name in checked}
    result = {
        name: {"checked": rows, "rows": found[name]["rows"], "items": found[name]["items"]}
        for name, rows in checked.items()
    }
    session.answer(result, lambda: _show_checked(result))


def find(
    ctx: typer.Context,
    names: Names = None,
    nearest: Annotated[int, typer.Option(min=1, max=50, help="Prompts kept for each item.")] = 3,
    detach: Detach = False,
) -> None:
    """Look for reworded questions: a queue for people, or for a model (`leaks ask`)."""
    session = session_of(ctx)
    check_detach(session, detach)
    job = session.call("leaks_find_candidates", names=names or None, nearest=nearest)
    job = finish(session, job, detach=detach)
    if detach:
        session.answer(job, lambda: _started(job))
        return
    result = job["result"]
    session.answer(result, lambda: facts(result["candidates"]))


def ask(
    ctx: typer.Context,
    teacher: Annotated[str, typer.Argument(help="Who reads the candidates; see list teachers.")],
    names: Names = None,
    most: Annotated[int, typer.Option(min=1, help="Candidates, from the top.")] = 200,
    detach: Detach = False,
) -> None:
    """Let a model say of each candidate whether it is the same problem. It removes nothing."""
    session = session_of(ctx)
    check_detach(session, detach)
    job = session.call("leaks_ask", teacher=teacher, names=names or None, most=most)
    job = finish(session, job, detach=detach)
    if detach:
        session.answer(job, lambda: _started(job))
        return
    said = job["result"]["said"]
    session.answer(job["result"], lambda: facts(said) if said else print("Nothing new to read."))


def report(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Benchmark.")],
    limit: Limit = 20,
) -> None:
    """What of a benchmark was found, with the shared words as evidence."""
    session = session_of(ctx)
    found = session.call("leaks_report", name=name, limit=limit)
    session.answer(found, lambda: _show_report(found))


def queue(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Benchmark (default: all).")] = "",
    judged: Annotated[bool, typer.Option("--judged", help="Those judged already.")] = False,
    opinion: Annotated[Opinion | None, typer.Option(help="Only what a model said so of.")] = None,
    limit: Limit = 20,
) -> None:
    """Candidates for reworded questions, likely leaks first."""
    session = session_of(ctx)
    found = session.call(
        "leaks_queue",
        name=name,
        judged=judged,
        opinion=opinion.value if opinion else None,
        limit=limit,
    )
    rows = [
        row
        | {
            "prompt": "".join(text for _, text in row["row_text"]),
            "said": row["verdict"] or (f"{row['opinion']} (model)" if row["opinion"] else ""),
        }
        for row in found["candidates"]
    ]
    session.answer(found, lambda: table(rows, _QUEUE, empty="Nothing there."))


def judge(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Benchmark.")],
    item: Annotated[int, typer.Argument(help="Number of the item; see leaks queue.")],
    text: Annotated[str, typer.Argument(help="The text's hash; see leaks queue.")],
    verdict: Annotated[Verdict, typer.Argument(help="leak, not_leak, or clear.")],
) -> None:
    """Say of a candidate or a find whether it is a leak. Counts from the next dedup on."""
    session = session_of(ctx)
    found = session.call("leaks_judge", name=name, item=item, text_hash=text, verdict=verdict.value)
    session.answer(found, lambda: print(f"{found['open']} candidates are open."))


def _started(job: Any) -> None:  # noqa: ANN401  (a job as JSON)
    print(f"Started. See how it goes: jobs show {job['id']}")


def _show_added(added: Any) -> None:  # noqa: ANN401
    pack = added["pack"]
    what = "Added" if added["is_new"] else "These very items are here already, as"
    print(f"{what} {clean(pack['name'])}: {pack['items']} items. Next: leaks check")
    if added["problem_count"]:
        print(f"{added['problem_count']} rows could not be read. {clean(added['problems'][0])}")


def _show_checked(result: dict[str, dict[str, int]]) -> None:
    for name, found in result.items():
        print(
            f"{clean(name)}: {found['rows']} rows hold {found['items']} of its items"
            f" ({found['checked']} rows were new to it)."
        )
    print("Rows with a leak go with: dedup")


def _show_report(found: Any) -> None:  # noqa: ANN401
    pack = found["pack"]
    facts({
        "benchmark": pack["name"],
        "items": pack["items"],
        "to check": pack["unchecked"],
        "rows with an item": found["rows"],
        "items found": found["items"],
        "accepted, so they stay": found["accepted"],
        "reworded, open": found["open"],
        "  a model says leak": found["model_leaks"],
        "reworded, leaks": found["leaks"],
    })
    for one in found["examples"]:
        shared = clean(one["shared"][0] if one["shared"] else "", 100)
        why = f"{one['rule']} {one['coverage']:.0%}"
        print(f"{one['pair_id']}  {clean(one['label'])}  {why}  {shared}")
