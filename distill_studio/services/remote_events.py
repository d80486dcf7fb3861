"""What comes back from another machine, which is not trusted: events, log, model.

Events are checked against their schema and written anew; a model is taken only when its files are
of the kinds that a training saves, and arrive as their hashes say.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distill_studio.core.errors import NotFound, StudioError, Unavailable
from distill_studio.distill.command import LOG_FILE
from distill_studio.distill.events import EVENTS_FILE, parse_event
from distill_studio.hub.jobs import plain
from distill_studio.hub.run_repository import NoSuchFile, RunRepository, TooLarge
from distill_studio.remote import records
from distill_studio.remote.start import digest
from distill_studio.services.remote_state import RemoteRun, change

MOST_PART_BYTES = 20_000_000
_MOST_LINE_BYTES = 100_000
_MOST_LOG_BYTES = 200_000
_MOST_RESULT_BYTES = 1_000_000
_SCALARS = (int, float, str, bool, type(None))


def take_events(hub: RunRepository, state: RemoteRun, folder: Path) -> tuple[RemoteRun, list[Any]]:
    """Append the parts that are new to `events.jsonl`; returns the state with them, and them.

    A part that was written when the app was killed is written again in its place.
    """
    there = hub.files(state.repo, records.events_folder(state.attempt))
    taken: list[Any] = []
    while (path := records.part_path(state.attempt, state.parts + 1)) in there:
        is_fit = there[path] <= MOST_PART_BYTES  # else left out, like long lines
        try:
            events = _checked(hub.read(state.repo, path, MOST_PART_BYTES)) if is_fit else []
        except NotFound as err:  # it is in the list: the Hub's stores do not agree yet
            raise Unavailable(f"{path} cannot be read yet.") from err
        size = _append(folder / EVENTS_FILE, state.events_bytes, events)
        state = change(folder, parts=state.parts + 1, events_bytes=size)
        taken += events
    if taken:
        take_log(hub, state, folder)
    return state, taken


def take_log(hub: RunRepository, state: RemoteRun, folder: Path, more: str = "") -> None:
    """The end of what the training printed, as `stdout.log`; `more` goes below it."""
    place = f"{records.attempt_folder(state.attempt)}/{records.LOG}"
    try:
        said = plain(hub.read(state.repo, place, _MOST_LOG_BYTES).decode("utf-8", "replace"))
    except StudioError:  # not there, or not now: the training does not hang on it
        said = ""
    if text := "\n".join(part for part in (said, more) if part):
        (folder / LOG_FILE).write_text(text + "\n", encoding="utf-8")


class ModelLost(Unavailable):
    """What was made will never arrive: only a new training helps."""


class Damaged(Unavailable):
    """It did not arrive as it was made; fetched again, it may."""


def take_model(hub: RunRepository, state: RemoteRun, folder: Path) -> None:
    """Download what the training made into the run's folder.

    Raises:
        ModelLost: It is not there, or not what a training makes.
        Damaged: It did not arrive as it was made, or its repository is not seen.
        Unavailable: It does not fit on the disk, or the Hub does not answer.
    """
    try:
        _fetch_made(hub, state, folder)
    except (NoSuchFile, TooLarge) as err:
        raise ModelLost(err.user_message, _ANEW) from err
    except NotFound as err:  # no repository, or one that this token does not see
        raise Damaged(err.user_message, _AGAIN) from err


def _fetch_made(hub: RunRepository, state: RemoteRun, folder: Path) -> None:
    place = f"{records.attempt_folder(state.attempt)}/{records.RESULT}"
    try:
        result = records.Result.model_validate_json(hub.read(state.repo, place, _MOST_RESULT_BYTES))
    except ValidationError as err:
        raise ModelLost("The list of what was made cannot be read.", _ANEW) from err
    if unfit := result.unfit():
        raise ModelLost(f"'{unfit}' is no file that a training makes: not taken.", _ANEW)
    size = sum(mark.size_bytes for mark in result.files.values())
    if size > shutil.disk_usage(folder).free:
        raise Unavailable(
            f"The model takes {size / 1e9:.1f} GB, more than is free here.",
            "Free some space, then resume: it is on the Hub and is only downloaded.",
        )
    _compare_sizes(hub, state, result)
    arriving = folder / ".arriving"
    try:
        for path, mark in result.files.items():
            found = hub.fetch(state.repo, path, arriving)
            if found.stat().st_size != mark.size_bytes or digest(found) != mark.sha256:
                raise Damaged(f"'{path}' did not arrive as it was made.", _AGAIN)
        for name in records.MADE:
            if (arriving / name).is_dir():
                shutil.rmtree(folder / name, ignore_errors=True)
                (arriving / name).rename(folder / name)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
    if not (folder / "model" / "config.json").exists():
        raise ModelLost("There is no whole model among what was made.", _ANEW)


def _compare_sizes(hub: RunRepository, state: RemoteRun, result: records.Result) -> None:
    there = {k: v for name in records.MADE for k, v in hub.files(state.repo, name, 5).items()}
    for path, mark in result.files.items():
        if there.get(path, mark.size_bytes) != mark.size_bytes:
            raise Damaged(f"'{path}' did not arrive as it was made.", _AGAIN)


def figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """Final figures as they may be stored: plain values with short names."""
    return {
        key[:60]: value[:200] if isinstance(value, str) else value
        for key, value in list(metrics.items())[:100]
        if isinstance(value, _SCALARS)
    }


def explained(err: StudioError, secret: str) -> str:
    """An error in a line, without the token."""
    text = f"{err.user_message} {err.hint}".strip()
    return text.replace(secret, "[token]") if secret else text


_ANEW = "Look at the repository of the run on the Hub. Resume trains it anew, paid once more."
_AGAIN = "Resume: it is downloaded again, not trained twice. If that fails too, Resume trains anew."


def _checked(data: bytes) -> list[Any]:
    found = []
    for line in data.splitlines():
        if len(line) > _MOST_LINE_BYTES:
            continue
        try:
            found.append(parse_event(line))
        except ValidationError:
            continue  # no event of ours
    return found


def _append(path: Path, offset: int, events: list[Any]) -> int:
    path.touch()
    with path.open("r+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(b"".join(event.model_dump_json().encode() + b"\n" for event in events))
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
