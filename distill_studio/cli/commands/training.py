"""`freeze` a snapshot, `train` a student on it, `compare` models."""

import json
import sys
import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from distill_studio.cli import filters
from distill_studio.cli.session import Session, session_of
from distill_studio.cli.show import clean, clean_lines
from distill_studio.cli.waiting import Detach, check_detach, finish
from distill_studio.core.errors import InvalidInput
from distill_studio.core.records import Curation, PairStatus

ELSEWHERE = "elsewhere"
_LOOK_S = 0.5
_WHOLE = dict.fromkeys(("keep_layers", "keep_mlp", "keep_groups", "keep_hidden"))  # no pruning


class Method(StrEnum):
    """How a student learns."""

    SFT = "sft"
    DPO = "dpo"
    KTO = "kto"
    LOGIT = "logit"
    ON_POLICY = "on_policy"


def add_to(app: typer.Typer) -> None:
    """Add `freeze`, `train`, `machines` and `compare`."""
    app.command("freeze")(freeze)
    app.command("train")(train)
    app.command("machines")(machines)
    app.command("compare")(compare)


def freeze(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The snapshot's name.")],
    format_: Annotated[
        str, typer.Option("--format", help="messages, prompt_completion, preference or unpaired.")
    ] = "messages",
    validation_share: Annotated[float, typer.Option(min=0.0, max=0.5)] = 0.1,
    reasoning: Annotated[
        bool, typer.Option("--reasoning", help="Put the chain of thought before the answer.")
    ] = False,
    system: Annotated[str, typer.Option(help="System prompt of every row.")] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Look; freeze nothing.")] = False,
    status: filters.Status = PairStatus.ACCEPTED,
    curation: filters.Kept = Curation.KEPT,
    teacher: filters.Teacher = "",
    recipe: filters.RecipeName = "",
    topic: filters.Topic = "",
    source: filters.Source = "",
    job_id: filters.JobId = "",
    search: filters.Search = "",
) -> None:
    """Freeze the rows that match a filter into a snapshot that never changes."""
    session = session_of(ctx)
    query = filters.pair_query(
        status=None if format_ in ("preference", "unpaired") else status,
        curation=None if format_ == "preference" else curation,
        teacher=teacher,
        recipe=recipe,
        topic=topic,
        source=source,
        job_id=job_id,
        search=search,
    )
    arguments: dict[str, Any] = {
        "format": format_,
        "query": query,
        "validation_share": validation_share,
        "include_reasoning": reasoning,
        "system_prompt": system,
    }
    if preview:
        seen = session.call("freeze_preview", **arguments)
        session.answer(seen, lambda: _show_preview(seen))
        return
    made = session.call("freeze_create", name=name, **arguments)
    session.answer(
        made,
        lambda: print(
            f"Froze {name}: {made['train_rows']} rows to train on, {made['validation_rows']} for"
            f" validation, hash {made['content_hash'][:12]}."
        ),
    )


def _show_preview(seen: dict[str, Any]) -> None:
    print(f"{seen['train_rows']} rows to train on, {seen['validation_rows']} for validation.")
    for reason, rows in seen["left_out"].items():
        print(f"left out: {rows} ({clean(reason)})")
    for warning in seen["warnings"]:
        print(f"warning: {clean(warning)}")


def train(
    ctx: typer.Context,
    snapshot: Annotated[
        str, typer.Argument(help="Name of a snapshot (with --like, as that run had it).")
    ] = "",
    method: Annotated[Method, typer.Option(help="How it learns.")] = Method.SFT,
    student: Annotated[
        str,
        typer.Option(
            help="A model id, or run:NAME to go on from; with :24 behind, pruned to 24 layers"
            " (narrower layers: --set keep_mlp=0.75, keep_groups, keep_hidden)."
        ),
    ] = "smollm2-135m-instruct",
    teacher: Annotated[
        str | None,
        typer.Option(help="Of logit and on_policy: whom to follow; else the whole student."),
    ] = None,
    preset: Annotated[str, typer.Option(help="quick, balanced or thorough.")] = "balanced",
    steps: Annotated[int | None, typer.Option(min=1, help="Updates.")] = None,
    full: Annotated[bool, typer.Option("--full", help="All weights instead of LoRA.")] = False,
    packing: Annotated[
        bool,
        typer.Option("--packing", help="Of sft and logit: rows end to end instead of padded."),
    ] = False,
    name: Annotated[str, typer.Option(help="Name of the run.")] = "",
    like: Annotated[
        str,
        typer.Option(help="A run whose settings are used again, but for those given here."),
    ] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting: learning_rate=1e-4. May be repeated."),
    ] = None,
    on: Annotated[
        str,
        typer.Option(
            help="A machine of Hugging Face Jobs, such as a10g-small (paid; `machines` lists them),"
            " or `elsewhere`: prints what another machine runs."
        ),
    ] = "",
    limit: Annotated[
        int, typer.Option(min=0, help="With --on: minutes after which it is ended; 0 = estimated.")
    ] = 0,
    check: Annotated[bool, typer.Option("--check", help="Pre-flight only.")] = False,
    detach: Detach = False,
) -> None:
    """Train a student on a snapshot; Ctrl+C stops it at a checkpoint."""
    session = session_of(ctx)
    check_detach(session, detach)
    if not (snapshot or like):
        raise InvalidInput("No snapshot is named.", "Name one, or a run with --like.")
    model, layers = _split_layers(student)
    chosen: dict[str, dict[str, Any]] = {  # by the option that says so
        "snapshot": {"snapshot": snapshot},
        "method": {"method": method.value},
        "student": {"student": model, **_WHOLE, "keep_layers": layers},
        "preset": {"preset": preset},
        "steps": {"max_steps": steps, "epochs": None},
        "full": {"weights": "full" if full else "lora", "lora_r": None, "lora_alpha": None},
        "name": {"name": name},
        "teacher": {"teacher": teacher},
        "packing": {"packing": packing or None},
    }
    spec = session.call("runs_settings", name=like) if like else {}
    for option, fields in chosen.items():
        if not like or _is_given(ctx, option):
            spec |= fields
    given = settings_of(set_ or [])
    if like and "epochs" in given:
        spec["max_steps"] = steps  # passes instead of that run's updates
    spec |= given
    if check:
        found = _checked(session, spec, on, limit)
        session.answer(found, lambda: print(json.dumps(found, ensure_ascii=False, indent=1)))
        return
    run = _started(session, spec, on, limit)
    job = session.call("jobs_get", job_id=run["job_id"])
    finish(session, job, detach=detach)
    run = session.call("distill_get", name=run["name"])
    session.answer(run, lambda: _show_run(run))


def machines(ctx: typer.Context) -> None:
    """List the machines of Hugging Face Jobs with their prices; asks the Hub."""
    session = session_of(ctx)
    found = session.call("remote_flavors")
    session.answer(found, lambda: _show_machines(found))


def _show_machines(found: list[dict[str, Any]]) -> None:
    for one in found:
        gpu = f"{one['gpus']} x {one['gpu']} {one['gpu_memory_gb']:.0f} GB" if one["gpus"] else ""
        price = f"${60 * one['usd_per_minute']:.2f} an hour"
        what = f"{one['cpus']} cores, {one['memory_gb']:.0f} GB"
        print(f"{clean(one['name']):<20}{price:<18}{what:<22}{clean(gpu)}".rstrip())


def _checked(session: Session, spec: dict[str, Any], on: str, limit: int) -> Any:  # noqa: ANN401
    if on and on != ELSEWHERE:
        return session.call("remote_estimate", spec=spec, flavor=on, limit_minutes=limit)
    return session.call("distill_preflight", spec=spec)


def _started(session: Session, spec: dict[str, Any], on: str, limit: int) -> dict[str, Any]:
    """The run, begun here, on a rented machine, or to be begun elsewhere."""
    if not on:
        run: dict[str, Any] = session.call("distill_start", spec=spec)
        return run
    if on != ELSEWHERE:
        run = session.call("remote_start", spec=spec, flavor=on, limit_minutes=limit)
        return run
    run = session.call("remote_start_elsewhere", spec=spec)
    while session.call("jobs_get", job_id=run["job_id"])["state"] in ("queued", "running"):
        if command := session.call("remote_status", name=run["name"])["command"]:
            token = "HF_TOKEN there: a token that may write to your repositories"
            print(f"Run this on the other machine ({token}):\n{command}", file=sys.stderr)
            break
        time.sleep(_LOOK_S)
    return run


def _is_given(ctx: typer.Context, option: str) -> bool:
    """Whether somebody typed it."""
    source = ctx.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"


def _split_layers(student: str) -> tuple[str, int | None]:
    """`smollm2-135m-instruct:24` -> the model and how many layers are kept."""
    model, sign, layers = student.rpartition(":")
    return (model, int(layers)) if sign and layers.isdigit() else (student, None)


def settings_of(pairs: list[str]) -> dict[str, Any]:
    """`name=value` as JSON values where they are such, else as text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise InvalidInput(f"'{pair}' sets nothing.", "Write --set name=value.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _show_run(run: dict[str, Any]) -> None:
    print(f"Run {run['name']}: {run['state']}")
    for name, value in run["metrics"].items():
        if isinstance(value, (int, float, str)):
            print(f"  {name} {clean(value)}")


def compare(
    ctx: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="2 to 4 ids of `list models`, e.g. student:first (may be repeated)."),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 256,
    temperature: Annotated[float, typer.Option(help="0 = greedy.")] = 0.0,
) -> None:
    """Ask models the same; by default a teacher, its base and the newest student."""
    session = session_of(ctx)
    models = model or session.call("evaluate_defaults")
    made = session.call(
        "evaluate_compare",
        models=models,
        prompt=prompt,
        max_tokens=max_tokens,
        temperature=temperature,
    )
    session.answer(made, lambda: _show_answers(made))


def _show_answers(made: dict[str, Any]) -> None:
    for answer in made["answers"]:
        card, stats = answer["card"], answer["stats"]
        speed = f", {stats['tokens_per_s']:.1f} tokens/s" if stats["tokens_per_s"] else ""
        figures = f"{card['role']}, {stats['tokens']} tokens{speed}{_cost(stats)}"
        print(f"== {clean(card['label'])} ({figures})")
        print(clean_lines(answer["text"]) if answer["text"] else clean(answer["error"]))
        print()


def _cost(stats: dict[str, Any]) -> str:
    if stats["cost"] == "known":
        about = "about " if stats["prompt_tokens"] is None else ""
        return f", {about}{stats['cost_usd']:.6f} USD"
    return {"free": ", free", "unknown": ", cost unknown"}.get(stats["cost"], "")
