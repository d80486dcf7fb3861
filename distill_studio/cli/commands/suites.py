"""`suites`: score models on prompts with known answers, and the way back; `lineage`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from distill_studio.cli.client import check_file
from distill_studio.cli.commands.exporting import take
from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import clean, facts, table
from distill_studio.cli.waiting import Detach, check_detach, finish

Name = Annotated[str, typer.Argument(help="Name of the suite.")]
Result = Annotated[str, typer.Option("--result", help="Id of a result (default: the newest).")]
_SUITES = {"name": "suite", "scorer": "scored by", "item_count": "prompts", "source": "source"}
_ROWS = {
    "model": "model", "items": "prompts", "score": "score", "interval": "95% interval",
    "kl": "KL from the teacher", "kl_from_base": "beside the base's", "loss": "held-out loss",
    "difference": "against the teacher", "retained": "retained", "recovered": "gap closed",
    "speed": "tokens/s", "usd": "USD per 1,000 answers",
}  # fmt: skip
_SOMETIMES = ("kl", "kl_from_base", "loss", "retained", "recovered", "speed", "usd")
_GROUPS = {"name": "group", "lost": "lost", "gap": "behind by"}
_SHOWN = 20  # left-out rows that are named
_ROUNDS = {"number": "round", "model": "model", "score": "score", "interval": "95% interval"}


class Scorer(StrEnum):
    """How the answers of a suite are scored."""

    MATH = "math"
    NUMERIC = "numeric"
    EXACT = "exact"
    UNIT_TESTS = "unit_tests"
    CHOICE = "choice"
    ROUGE_L = "rouge_l"
    LIKELIHOOD = "likelihood"
    AGREEMENT = "agreement"
    JUDGE = "judge"


def add_to(app: typer.Typer) -> None:
    """Add the group `suites`, and `lineage`."""
    group = typer.Typer(no_args_is_help=True, help="Score models on prompts with known answers.")
    group.command("list")(list_suites)
    group.command("add")(add)
    group.command("score")(score)
    group.command("show")(show)
    group.command("lost")(lost)
    group.command("undo")(undo)
    group.command("rounds")(rounds)
    group.command("report")(report)
    app.add_typer(group, name="suites")
    app.command("lineage")(lineage)


def list_suites(ctx: typer.Context) -> None:
    """Suites there are."""
    session = session_of(ctx)
    found = session.call("suites_page")
    session.answer(found, lambda: table(found, _SUITES, empty="No suite yet: suites add FILE"))


def add(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSONL, JSON, CSV or Parquet.")],
    scorer: Annotated[Scorer, typer.Option(help="How answers are scored.")] = Scorer.MATH,
    name: Annotated[str, typer.Option(help="Its name (default: the file's).")] = "",
) -> None:
    """Make a suite of a file with prompts and references."""
    session = session_of(ctx)
    upload_id = session.client.upload(check_file(file))
    made = session.call(
        "suites_add", upload_id=upload_id, scorer=scorer.value, name=name or file.stem
    )
    session.answer(made, lambda: print(_added(made)))


def _added(made: dict[str, Any]) -> str:
    """A suite's prompts, and the first rows of its file that are not among them."""
    lines = [f"{clean(made['name'])}: {made['item_count']:,} prompts."]
    if count := made["left_out"]:
        rows = "1 row" if count == 1 else f"{count:,} rows"
        lines.append(f"Left out, as they cannot be scored: {rows}.")
    lines += [f"  line {one['line']}: {clean(one['reason'])}" for one in made["problems"][:_SHOWN]]
    return "\n".join(lines)


def score(
    ctx: typer.Context,
    name: Name,
    models: Annotated[list[str], typer.Argument(help="Labels or ids; the first teacher measures.")],
    first: Annotated[int, typer.Option(help="Only the first so many prompts; 0: all.")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Answers per prompt.")] = 1,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 512,
    judge: Annotated[str, typer.Option(help="The teacher that scores, for a judge's suite.")] = "",
    detach: Detach = False,
) -> None:
    """Ask models all prompts of a suite, score them, and show how they did."""
    session = session_of(ctx)
    check_detach(session, detach)
    job = session.call(
        "suites_run",
        suite=name,
        models=models,
        samples=samples,
        most_items=first,
        temperature=temperature,
        max_tokens=tokens,
        judge=judge,
    )
    done = finish(session, job, detach=detach)
    if detach:
        session.answer(done, lambda: print(f"Result {job['params']['trial_id']} is on its way."))
    else:
        _show_standings(session, job["params"]["trial_id"])


def show(
    ctx: typer.Context,
    name: Name,
    result: Result = "",
    usd_per_hour: Annotated[
        float | None,
        typer.Option(help="What this machine costs, for the cost of local models' answers."),
    ] = None,
    with_failed: Annotated[
        bool, typer.Option("--with-failed", help="Compare models that failed on most, too.")
    ] = False,
) -> None:
    """How models did on a suite, and what an answer costs."""
    session = session_of(ctx)
    trial = _result(session, name, result)
    if usd_per_hour is not None:
        session.call("suites_price", trial_id=trial, usd_per_hour=usd_per_hour)
    _show_standings(session, trial, with_failed=with_failed)


def lost(
    ctx: typer.Context,
    name: Name,
    student: Annotated[str, typer.Argument(help="Label or id.")],
    result: Result = "",
    prefer: Annotated[bool, typer.Option("--prefer", help="Send them to Prefer.")] = False,
    seeds: Annotated[int, typer.Option(min=0, help="New prompts for each; 0: none.")] = 0,
) -> None:
    """What a student lost to its teacher; send it back to the data.

    Once something is sent back, all results of the suite count its exam half only; see `undo`.
    """
    session = session_of(ctx)
    trial = _result(session, name, result)
    view = session.call("feedback_view", trial_id=trial, student=student)
    answer: dict[str, Any] = {"view": view}
    if prefer:
        answer["preferences"] = session.call("feedback_prefer", trial_id=trial, student=student)
    if seeds:
        job = session.call("feedback_seeds", trial_id=trial, student=student, each=seeds)
        answer["seeds"] = finish(session, job)["result"]
    session.answer(answer, lambda: _show_lost(answer))


def undo(ctx: typer.Context, name: Name) -> None:
    """Take back the newest step of the way back, as long as nothing has used what it sent."""
    session = session_of(ctx)
    steps = session.call("feedback_steps", suite=name)
    live = [one for one in steps if one["sent_at"] and not one["undone_at"]]
    if not live:
        session.answer(None, lambda: print("Nothing was sent back, so there is nothing to undo."))
        return
    step = session.call("feedback_undo", step_id=live[-1]["id"])
    left = len(live) - 1
    counts = f"{left} earlier steps still stand." if left else "All prompts count again."
    session.answer(step, lambda: print(f"Undone: {step['kind']} near lost prompts. {counts}"))


def report(
    ctx: typer.Context,
    name: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="An .html file.")],
    result: Result = "",
) -> None:
    """Write a result as one HTML file to send to a colleague."""
    session = session_of(ctx)
    trial = _result(session, name, result)
    take(session, session.call("suites_report", trial_id=trial), output)


def rounds(ctx: typer.Context, name: Name) -> None:
    """Quality by round of training."""
    session = session_of(ctx)
    found = session.call("feedback_rounds", suite=name)
    rows = [
        {
            "number": one["number"],
            "model": one["card"]["label"],
            "score": _percent(one["score"]),
            "interval": _interval(one),
        }
        for one in found
    ]
    session.answer(found, lambda: table(rows, _ROUNDS, empty="Nothing was scored yet."))


def lineage(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(help="Name of a run, or with --row the id of a row.")],
    row: Annotated[bool, typer.Option("--row", help="A row: which models learnt from it?")] = False,
) -> None:
    """Where a model comes from, or where a row went."""
    session = session_of(ctx)
    if row:
        found = session.call("lineage_row", pair_id=what)
        session.answer(found, lambda: _show_row(found))
    else:
        found = session.call("lineage_model", run=what)
        session.answer(found, lambda: _show_model(found))


# -- inside -------------------------------------------------------------------------------


def _result(session: Session, name: str, result: str) -> str:
    """The id of the result that is meant."""
    return result or str(session.call("suites_newest", suite=name)["id"])


def _show_standings(session: Session, trial: str, *, with_failed: bool = False) -> None:
    found = session.call("suites_standings", trial_id=trial, with_failed=with_failed)
    rows = []
    for row in found["rows"]:
        against = row["against_teacher"]
        difference = against["mean"]["value"] if against else None
        rows.append({
            "model": row["card"]["label"],
            "items": row["items"],
            "score": _percent(row["score"]["value"]),
            "interval": _interval(row["score"]),
            "kl": _nats(row["kl"]),
            "kl_from_base": _nats((row["kl_against_base"] or {}).get("mean"), sign="+"),
            "loss": _nats(row["loss"]),
            "difference": "" if difference is None else f"{100 * difference:+.1f} points",
            "retained": _percent((row["retained"] or {}).get("value")),
            "recovered": _percent((row["recovered"] or {}).get("value")),
            "speed": "" if row["tokens_per_s"] is None else f"{row['tokens_per_s']:,.0f}",
            "usd": "" if row["usd_per_1000"] is None else f"{row['usd_per_1000']:.4g}",
        })
    asked = session.call("suites_trial", trial_id=trial)
    has_kl = any(row["kl"] for row in rows)
    optional = {name: any(row[name] for row in rows) for name in _SOMETIMES}
    shown = {
        name: "same likeliest token" if name == "score" and has_kl else label
        for name, label in _ROWS.items()
        if optional.get(name, True) and not (has_kl and name in ("difference", "retained"))
    }

    def say() -> None:
        table(rows, shown, empty="No model has answered a prompt yet.")
        facts({
            "result": trial, "prompts of all models": found["items"],
            "lacked by some": found["left_out"],
        })  # fmt: skip
        if found["practice"]:
            facts({"retired, the practice half": found["practice"]})
        for one in (*found["notes"], *found["lacks"]):
            print(clean(one))
        if asked["judge"]:
            facts({"judge": f"{asked['judge']} ({asked['judge_model']})"})
        if asked["judge_warning"]:
            print(clean(asked["judge_warning"]))

    session.answer(found, say)


def _show_lost(answer: dict[str, Any]) -> None:
    view = answer["view"]
    found = view["tally"]
    print(
        f"{clean(view['student']['label'])} did worse than {clean(view['teacher']['label'])} on"
        f" {len(found['losses'])} of {found['compared']} prompts of the practice half, better on"
        f" {found['won']}."
    )
    rows = [
        {"name": g["name"], "lost": len(g["numbers"]), "gap": f"{100 * g['gap']:.0f} points"}
        for g in view["groups"]
    ]
    table(rows, _GROUPS, empty="Nothing was lost.")
    if step := answer.get("preferences"):
        print(f"{len(step['numbers'])} comparisons wait in Prefer.")
    if made := answer.get("seeds"):
        print(f"{made['new']} new prompts are seeds.")


def _show_model(found: dict[str, Any]) -> None:
    print(clean(found["steps"][0]["base"]))
    for step in found["steps"]:
        data = f"{clean(step['snapshot'])} ({step['rows']:,} rows)" if step["snapshot"] else "gone"
        print(f"  data {data}")
        for kind, counts in step["facts"].items():
            said = ", ".join(f"{clean(name)} {n:,}" for name, n in counts.items())
            if said:
                print(f"    {kind}: {said}")
        print(f"  {step['method']} {clean(step['run'])} [{step['state']}]")
    if found["children"]:
        print(f"goes on as {', '.join(clean(name) for name in found['children'])}")
    if found["pupils"]:
        print(f"taught {', '.join(clean(name) for name in found['pupils'])}")


def _show_row(found: dict[str, Any]) -> None:
    pair = found["pair"]
    facts({"teacher": pair["teacher"], "recipe": pair["recipe"], "status": pair["status"]})
    for one in found["decisions"]:
        print(f"{one['kind']} by {clean(one['user'])}")
    for one in found["snapshots"]:
        print(f"frozen as {one['part']} in {clean(one['snapshot'])}, {one['split']}")
    for one in found["models"]:
        word = {"rows": "learnt by", "base": "inherited by", "teacher": "taught to"}[one["way"]]
        print(f"{word} {clean(one['run'])} ({one['method']}, through {clean(one['through'])})")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}%"


def _nats(found: dict[str, Any] | None, sign: str = "") -> str:
    """0.123 (0.100 to 0.146), in nats."""
    if not found or found["value"] is None:
        return ""
    said = f"{found['value']:{sign}.3f}"
    if found["low"] is None or found["high"] is None:
        return said
    return f"{said} ({found['low']:{sign}.3f} to {found['high']:{sign}.3f})"


def _interval(found: dict[str, Any]) -> str:
    if found["low"] is None or found["high"] is None:
        return ""
    return f"{100 * found['low']:.1f} to {100 * found['high']:.1f}%"
