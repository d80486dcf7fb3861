"""Which models belong beside a student on a suite, so that its figures mean something.

A student's score alone says little: its teacher is the measure, its base says what training
brought, and plain SFT on the same rows what the method brought. Start at `beside`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from distill_studio.core.actor import Actor
from distill_studio.core.records import Record, Run, RunState
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.distill.config import PRUNING
from distill_studio.distill.pruning import pruning_text
from distill_studio.services import origins
from distill_studio.store import runs, snapshots

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

_MOST = 10_000
_SFT = "sft"
_SFT_FORMATS = ("messages", "prompt_completion")


class Beside(Record):
    """A row that a student's figures want beside them."""

    student: str = Field(description="Id of the student's card.")
    part: Literal["teacher", "base", "sft"] = Field(description="What it would be beside it.")
    model: str = Field(default="", description="Id of the model to add; '' where there is none.")
    said: str = Field(description="What is missing, and how to come by it.")


def beside(workspace: Workspace, actor: Actor, chosen: Sequence[ModelCard]) -> list[Beside]:
    """What is missing beside the students among these models; nothing where all is there."""
    ids = {card.id for card in chosen}
    found: list[Beside] = []
    for card in chosen:
        way = origins.way(workspace, card.id.partition(":")[2])
        if card.role is not ModelRole.STUDENT or not way:
            continue
        if not any(one.role is ModelRole.TEACHER for one in chosen):
            found.append(
                Beside(
                    student=card.id,
                    part="teacher",
                    said=f"There is no teacher to measure {card.label} by: choose one beside it.",
                )
            )
        found += [
            one
            for one in (_base(workspace, actor, card, way, chosen), _sft(workspace, card, way))
            if one is not None and (not one.model or one.model not in ids)
        ]
    return list({(one.part, one.said): one for one in found}.values())


def _base(
    workspace: Workspace,
    actor: Actor,
    card: ModelCard,
    way: Sequence[Run],
    chosen: Sequence[ModelCard],
) -> Beside | None:
    """What the student was before its first training; a teacher of the same model will do."""
    origin = origins.base(workspace, way[0])
    if not origin or any(one.model == origin for one in chosen):
        return None
    cards = workspace.evaluate.comparable.cards(actor)
    model = next((c.id for c in cards if c.role is ModelRole.BASE and c.model == origin), "")
    way_out = "choose it as well" if model else "it is not on this machine any more"
    return Beside(
        student=card.id,
        part="base",
        model=model,
        said=f"What training brought cannot be told without the base of {card.label}, {origin}:"
        f" {way_out}.",
    )


def _sft(workspace: Workspace, card: ModelCard, way: Sequence[Run]) -> Beside | None:
    """Plain SFT: the stage that the student went on from, or a run on the same base and rows."""
    run = way[-1]
    if run.method == _SFT:
        return None
    why = f"What {run.method} brought {card.label} over plain SFT cannot be told"
    same = next((one for one in reversed(way) if one.method == _SFT), None) or _same_rows(
        workspace, run
    )
    if same is not None:
        return Beside(
            student=card.id,
            part="sft",
            model=f"{ModelRole.STUDENT.value}:{same.name}",
            said=f"{why} without the SFT run '{same.name}': choose it as well.",
        )
    snapshot = _snapshot_name(workspace, run)
    origin = origins.base(workspace, run)
    if not snapshot:
        how = "its rows cannot be trained on by SFT; train SFT from the same base on the answers"
    else:
        how = (
            f"on Distill choose the snapshot '{snapshot}', the student {origin}{_pruned(run)} and"
            " SFT, or type:"
            f" train {snapshot} --method sft --student {_student(origin, run)}"
        )
    return Beside(
        student=card.id,
        part="sft",
        said=f"{why}: no SFT run has the same base and the same rows. To make one, {how}.",
    )


def _same_rows(workspace: Workspace, run: Run) -> Run | None:
    """The newest finished SFT run of the same base (pruned alike) on the same snapshot."""
    wanted = (origins.base(workspace, run), _kept(run))
    return next(
        (
            one
            for one in runs.page(workspace.db, limit=_MOST)
            if one.method == _SFT
            and one.state is RunState.DONE
            and one.snapshot_id == run.snapshot_id
            and (origins.base(workspace, one), _kept(one)) == wanted
        ),
        None,
    )


def _snapshot_name(workspace: Workspace, run: Run) -> str:
    """The run's snapshot, where SFT can train on it; '' else."""
    every = snapshots.page(workspace.db, limit=_MOST)
    return next((s.name for s in every if s.id == run.snapshot_id and s.format in _SFT_FORMATS), "")


def _kept(run: Run) -> dict[str, Any]:
    """What it kept of its base, by setting; all where nothing is named."""
    student = run.config.get("student", {})
    return {name: student[name] for name in PRUNING if student.get(name) is not None}


def _pruned(run: Run) -> str:
    kept = pruning_text(run.config.get("student", {}))
    return f" pruned to {kept}" if kept else ""


def _student(origin: str, run: Run) -> str:
    """As the command line wants it."""
    kept = _kept(run)
    layers = f":{kept.pop('keep_layers')}" if "keep_layers" in kept else ""
    return " ".join([
        f"{origin}{layers}",
        *(f"--set {name}={value}" for name, value in kept.items()),
    ])
