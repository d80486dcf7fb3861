"""Held-out prompts for the models that are to be compared: none that a student learnt from.

Start at `held_out`. A prompt is known by its normalised text, as in the search for duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from distill_studio.core.records import Message, Record, Run
from distill_studio.core.records.comparison import ModelCard, ModelRole
from distill_studio.curate.text import conversation_text, normalise, text_hash
from distill_studio.distill.students import RUN_PREFIX
from distill_studio.evaluate.prompts import held_out_prompts, unseen_prompts
from distill_studio.services import origins
from distill_studio.services.checkpoints import parse_name
from distill_studio.store import snapshots

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

MOST = 500
_Dated = tuple[Path, int]  # a file, and when it was written


class HeldOutPrompts(Record):
    """Conversations that end with a question, and where they come from."""

    snapshot: str = Field(default="", description="Of whose validation split; '' for none.")
    prompts: list[list[Message]] = Field(
        default_factory=list, description="In no train split that a chosen student learnt from."
    )
    unknown: list[str] = Field(
        default_factory=list,
        description="Trainings behind the students whose rows are gone: theirs may be among these.",
    )


def held_out(workspace: Workspace, cards: Sequence[ModelCard], limit: int) -> HeldOutPrompts:
    """Prompts that none of these models learnt from.

    They are of the students' own snapshots where these have any, else of the newest one that has;
    without a student of the newest snapshot.
    """
    ways = [origins.way(workspace, name) for name in _students(cards)]
    trainings = [run for way in ways for run in way[::-1]]  # what a student learnt last, first
    named = {run.name: snapshots.name_of(workspace.db, run.snapshot_id) for run in trainings}
    learnt = [name for name in dict.fromkeys(named.values()) if name]
    unknown = [*(run for run, name in named.items() if not name), *_deleted(workspace, ways)]
    for split in _splits(workspace, [named[way[-1].name] for way in ways if way], bool(learnt)):
        # a freeze keeps equal prompts on one side: its own train split has none of these
        others = [split.parents[1] / name for name in learnt if name != split.parent.name]
        trains = [file for folder in others if (file := folder / "train.parquet").is_file()]
        found = held_out_prompts(split, limit)
        if trains:
            found = _unseen(_dated(split), tuple(map(_dated, trains)))[:limit]
        if found:
            return HeldOutPrompts(snapshot=split.parent.name, prompts=found, unknown=unknown)
    return HeldOutPrompts(unknown=unknown)


def _students(cards: Sequence[ModelCard]) -> list[str]:
    """The runs behind students and checkpoints."""
    names = [card.id.partition(":")[2] for card in cards if card.role is ModelRole.STUDENT]
    return list(dict.fromkeys(parse_name(name)[0] for name in names))


def _deleted(workspace: Workspace, ways: Sequence[Sequence[Run]]) -> list[str]:
    """Runs that students go on from and that are gone."""
    bases = [origins.base(workspace, way[0]) for way in ways if way]
    return [one.removeprefix(RUN_PREFIX) for one in bases if one.startswith(RUN_PREFIX)]


def _splits(workspace: Workspace, own: Sequence[str], has_learnt: bool) -> list[Path]:
    """Validation splits in the order to look at; the newest alone where no student is chosen."""
    every = list(workspace.folder.glob("snapshots/*/validation.parquet"))
    every.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    if not has_learnt:
        return every[:1]
    return sorted(every, key=lambda path: path.parent.name not in own)


@lru_cache(maxsize=32)  # a snapshot does not change, and a train split may have a million rows
def _unseen(split: _Dated, trains: tuple[_Dated, ...]) -> list[list[Message]]:
    return unseen_prompts(split[0], [path for path, _ in trains], _key, MOST)


def _dated(path: Path) -> _Dated:
    return path, path.stat().st_mtime_ns


def _key(messages: Sequence[Message]) -> str:
    return text_hash(normalise(conversation_text(messages)))
