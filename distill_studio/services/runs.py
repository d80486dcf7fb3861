"""Runs beside each other, what people note of them, and their settings used again.

Starting, stopping and deleting a run is `distill.py`'s.
"""

from __future__ import annotations

import json
from pathlib import Path

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import Run, RunNote
from distill_studio.distill.again import spec_like
from distill_studio.distill.config import RunConfig, parse_config
from distill_studio.distill.run_comparison import LEAST, MOST, RunComparison, compared
from distill_studio.distill.spec import TrainSpec
from distill_studio.services.base import Service
from distill_studio.store import run_notes as notes

NOTES_FILE = "notes.json"  # in the folder of a run that was deleted
_LONGEST = 4000


class RunsService(Service):
    """Several runs, and the notes of one."""

    word = "runs"

    def compare(self, actor: Actor, names: list[str]) -> RunComparison:
        """2 to 6 runs: curves, the settings in which they differ, final figures.

        A figure that does not measure the same in all of them says which settings make it so.

        Raises:
            InvalidInput: Too few or too many, or one of them twice.
            NotFound: There is no such run.
        """
        actor.require(Role.VIEWER)
        if len(set(names)) != len(names):
            raise InvalidInput("One of these runs is named twice.", "Name each run once.")
        if not LEAST <= len(names) <= MOST:
            raise InvalidInput(
                f"These are {len(names)} runs.", f"Compare {LEAST} to {MOST} of them."
            )
        distill = self.workspace.distill
        runs = [distill.get(actor, name) for name in names]
        return compared(runs, [distill.curve(actor, name) for name in names])

    def settings(self, actor: Actor, name: str) -> TrainSpec:
        """The settings of a run as `distill_start` takes them, to start another one like it.

        Raises:
            NotFound: There is no such run.
        """
        actor.require(Role.VIEWER)
        return spec_like(self.config(self._get(actor, name)))

    def notes(self, actor: Actor, name: str) -> list[RunNote]:
        """What people noted of a run, oldest first."""
        actor.require(Role.VIEWER)
        return notes.of_run(self.db, self._get(actor, name).id)

    def newest_notes(self, actor: Actor) -> dict[str, str]:
        """Name of each run that has notes -> the newest of them."""
        actor.require(Role.VIEWER)
        return notes.newest(self.db)

    def note(self, actor: Actor, name: str, text: str, in_card: bool = False) -> RunNote:
        """Note something of a run, for everybody here; with `in_card` also for who gets its model.

        Raises:
            InvalidInput: An empty note, or one of more than 4,000 characters.
        """
        actor.require(Role.REVIEWER)
        said = text.strip()
        if not said:
            raise InvalidInput("The note is empty.", "Write something first.")
        if len(said) > _LONGEST:
            raise InvalidInput(
                f"The note has {len(said):,} characters.", f"Write at most {_LONGEST:,}."
            )
        run = self._get(actor, name)
        made = RunNote(run_id=run.id, user=actor.user, text=said, in_card=in_card)
        notes.insert(self.db, made)
        return made

    def forget_note(self, actor: Actor, note_id: str) -> None:
        """Take a note away: one's own; an owner any.

        Raises:
            NotFound: There is no such note.
            NotAllowed: It is another person's.
        """
        actor.require(Role.REVIEWER)
        found = notes.get(self.db, note_id)
        if found is None:
            raise NotFound("There is no such note any more.")
        if found.user != actor.user and actor.role < Role.OWNER:
            raise NotAllowed(f"This note is {found.user}'s.", "They or an owner can take it away.")
        notes.delete(self.db, note_id)

    # -- for other services and the page --------------------------------------------------

    def config(self, run: Run) -> RunConfig:
        """What a run was told, as stored."""
        return parse_config(json.dumps(run.config))

    def keep_notes(self, run: Run, folder: Path) -> None:
        """Write the notes of a run that will be deleted into its folder."""
        found = notes.of_run(self.db, run.id)
        if found and folder.exists():
            said = [one.model_dump(mode="json") for one in found]
            text = json.dumps(said, indent=1, ensure_ascii=False)
            (folder / NOTES_FILE).write_text(text, encoding="utf-8")

    def _get(self, actor_: Actor, name: str) -> Run:
        return self.workspace.distill.get(actor_, name)
