"""The program on the other machine: `python -m distill_studio.remote.machine PACKAGE_FOLDER`.

Runs the same worker as the app does, on the packed run, as a child that does not get the token.
Every minute, if there is something new, the worker's events go to the Hub as one small commit; at
the end the model and the last events go there in one commit, so that nobody reads "done" before
the model is there. Exit code 0: done or stopped; 1: failed. The token comes through a pipe, from
`start.py`: what is in the environment of a process, its children can read.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from distill_studio.core.errors import InvalidInput, NotAllowed, NotFound, StudioError
from distill_studio.distill.command import CONFIG_FILE, LOG_FILE, SHUTDOWN_ENV, worker_argv
from distill_studio.distill.config import RunConfig, TeacherRun, load_config
from distill_studio.distill.events import (
    EVENTS_FILE,
    EventWriter,
    Failed,
    last_final,
    parse_event,
    read_events,
)
from distill_studio.hub.client import ATTEMPTS
from distill_studio.hub.run_repository import RunRepository
from distill_studio.remote import records
from distill_studio.remote.start import BEGAN_VARIABLE, PIPE_VARIABLE, TOKEN_VARIABLE, digest

INTERVAL_VARIABLE = "DISTILL_STUDIO_REMOTE_PUSH_S"
PUSH_EVERY_S = 60.0  # 60 of the 128 commits an hour that the Hub takes
_LOOK_EVERY_S = 0.5
_EXITS_WITHIN_S = 120.0  # after its last word
_ENDS_WITHIN_S = 20.0  # after it was asked to
_LOG_BYTES = 20_000
_WORKER_ENV = {  # as beside the app: it asks nobody
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    **SHUTDOWN_ENV,
}
_LONGEST_WAIT_S = 60.0  # between two tries of the last commit, each of which waits as well
_LEAST_PATIENCE_S = 300.0
_MOST_PATIENCE_S = 86_400.0  # where nobody sets a limit
_REFUSED_PATIENCE_S = 900.0  # of what the Hub says is wrong, which rarely passes


def main(argv: list[str]) -> int:
    """Train the packed run and bring everything to the Hub; returns the exit code."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m distill_studio.remote.machine PACKAGE_FOLDER\n")
        return 2
    token = piped_token()
    if not token:
        sys.stderr.write(f"{TOKEN_VARIABLE} is not set: a token that may write to the Hub.\n")
        return 2
    package = Path(argv[0]).resolve()
    manifest = records.Manifest.model_validate_json((package / records.MANIFEST).read_bytes())
    hub = RunRepository(token)
    folder = package.parent / "run" / manifest.name
    if folder.exists() and any(folder.iterdir()):  # its events and checkpoints are another start's
        sys.stderr.write(f"{folder} holds a run already. Start in an empty folder.\n")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    carrier = Carrier(hub, manifest, folder, _interval_s())
    try:
        config = placed(load_config(package / records.RUN), package, hub)
        (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2), encoding="utf-8")
        _train(folder, carrier)
    except StudioError as err:
        _say_failed(folder, err.user_message, err.hint)
    final = last_final(read_events(folder / EVENTS_FILE)[0])
    if final is None:
        _say_failed(folder, "The training process ended without a last word.", "Look at its log.")
    is_done = final is not None and final.kind == "done"  # however its process ended after that
    try:
        carrier.finish(made_by(folder) if is_done else {}, ends_at())
    except StudioError as err:
        _say(f"Given up: {err} What was made is in {folder} of this machine.")
        return 1
    _say(_tail(folder / LOG_FILE).decode("utf-8", "replace")[-4000:])
    return 0 if final is not None and final.kind in ("done", "stopped") else 1


class Carrier:
    """Brings events, the log and the result to the repository.

    Args:
        hub: With the token.
        manifest: Says which repository and attempt.
        folder: Of the run.
        every_s: Seconds between commits.
    """

    def __init__(
        self, hub: RunRepository, manifest: records.Manifest, folder: Path, every_s: float
    ) -> None:
        self._hub = hub
        self._manifest = manifest
        self._folder = folder
        self._every_s = every_s
        self._offset = 0  # of what is cut into parts
        self._parts = 0  # that have arrived
        self._waiting: list[bytes] = []  # cut, and sent again as they are: an answer may get lost
        self._next = 0.0
        self._is_hurried = False

    def hurry(self) -> None:
        """Somebody wants an end: the last commit is not tried for long."""
        self._is_hurried = True

    def carry(self) -> None:
        """Bring what is new, if it is time; what fails is brought the next time."""
        if time.monotonic() < self._next:
            return
        self._cut(with_done=False)
        if not self._waiting:
            return
        self._next = time.monotonic() + self._every_s
        try:
            self._commit({}, attempts=1)
        except StudioError as err:
            _say(f"The Hub did not take the events: {told(err)} Trying again.")

    def finish(self, made: dict[str, Path], ends_at: float) -> None:
        """Bring the rest of the events and what the training made, in one commit.

        It was paid for: a Hub that fails is asked again until `ends_at` (of time.time()).

        Raises:
            StudioError: It took it never.
        """
        marks = {
            path: records.FileMark(sha256=digest(file), size_bytes=file.stat().st_size)
            for path, file in made.items()
        }
        files: dict[str, Path | bytes] = {**made}
        if made:
            place = f"{records.attempt_folder(self._manifest.attempt)}/{records.RESULT}"
            files[place] = records.Result(files=marks).model_dump_json(indent=1).encode()
        self._cut(with_done=True)
        began, wait_s = time.time(), 2.0
        while True:
            try:
                self._commit(dict(files), attempts=ATTEMPTS)
            except StudioError as err:
                is_wrong = isinstance(err, InvalidInput | NotFound)
                last = min(ends_at, began + _REFUSED_PATIENCE_S) if is_wrong else ends_at
                if self._is_hurried or time.time() + wait_s > last:
                    raise
                _say(f"The Hub did not take the result: {told(err)} Trying again.")
            else:
                return
            self._rest(wait_s)
            wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)

    def _rest(self, seconds: float) -> None:
        until = time.time() + seconds
        while not self._is_hurried and time.time() < until:
            time.sleep(min(_LOOK_EVERY_S, seconds))

    def _cut(self, *, with_done: bool) -> None:
        """Make a part of the whole lines that are new; "done" waits for the model."""
        path = self._folder / EVENTS_FILE
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        if lines and not with_done and _is_done(lines[-1]):
            lines.pop()
        if new := b"".join(lines):
            self._waiting.append(new)
            self._offset += len(new)

    def _commit(self, files: dict[str, Path | bytes], attempts: int) -> None:
        attempt = self._manifest.attempt
        parts = enumerate(self._waiting, start=self._parts + 1)
        files |= {records.part_path(attempt, number): part for number, part in parts}
        if log := _tail(self._folder / LOG_FILE):
            files[f"{records.attempt_folder(attempt)}/{records.LOG}"] = log
        if not files:
            return
        self._hub.put(self._manifest.repo, files, f"Attempt {attempt}: events", attempts)
        self._parts += len(self._waiting)
        self._waiting.clear()


def placed(config: RunConfig, package: Path, hub: RunRepository) -> RunConfig:
    """The packed run with folders of this machine; models of the Hub are downloaded."""
    found: dict[str, str] = {}

    def folder(place: str) -> str:
        if place not in found:
            found[place] = str(_folder_of(place, package, hub))
        return found[place]

    student = config.student
    fields: dict[str, Any] = {
        "student": student.model_copy(update={"base_folder": folder(student.base_folder)}),
        "data": config.data.model_copy(update={"folder": folder(config.data.folder)}),
    }
    if isinstance(config, TeacherRun):
        teachers = [t.model_copy(update={"folder": folder(t.folder)}) for t in config.teachers]
        fields |= {"teacher": teachers[0], "more_teachers": tuple(teachers[1:])}
    if cache := getattr(config, "cache_folder", ""):
        fields["cache_folder"] = str(package / cache)
    if device := os.environ.get(records.DEVICE_VARIABLE):  # paid for: without it, it fails at once
        fields["device"] = device
    return config.model_copy(update=fields)


def piped_token() -> str:
    """The token that `start.py` left in a pipe, once; '' where there is none."""
    number = os.environ.pop(PIPE_VARIABLE, "")
    if not number:
        return ""
    with os.fdopen(int(number), "rb") as pipe:
        return pipe.read().decode().strip()


def ends_at() -> float:
    """Until when to try to bring the result: the time limit of the Job, or a day."""
    began, limit_s = os.environ.get(BEGAN_VARIABLE), os.environ.get(records.LIMIT_VARIABLE)
    until = time.time() + _MOST_PATIENCE_S
    if began and limit_s:
        until = float(began) + float(limit_s)
    return max(until, time.time() + _LEAST_PATIENCE_S)  # the Hub ends it, when it does


def made_by(folder: Path) -> dict[str, Path]:
    """What a training left, by its path in the repository: what the app will take of it."""
    found = {
        path.relative_to(folder).as_posix(): path
        for name in records.MADE
        for path in sorted((folder / name).rglob("*"))
        if path.is_file() and path.name != "README.md"
    }
    return {place: path for place, path in found.items() if records.is_made(place)}


def _folder_of(place: str, package: Path, hub: RunRepository) -> Path:
    if not place.startswith(records.HUB_PREFIX):
        return package / place
    model, _, revision = place.removeprefix(records.HUB_PREFIX).partition("@")
    if not revision:
        raise InvalidInput(f"The package names no revision of {model}.")
    return hub.model(model, revision)


def _train(folder: Path, carrier: Carrier) -> None:
    """Run the worker to its end. A stop asked of us is asked of it."""
    hidden = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    hidden |= _WORKER_ENV
    with (folder / LOG_FILE).open("ab") as log:
        worker = subprocess.Popen(
            worker_argv(folder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=hidden,
        )

        def end(*_: object) -> None:
            carrier.hurry()
            worker.terminate()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        ending = _Ending(folder / EVENTS_FILE)
        while worker.poll() is None:
            carrier.carry()
            if ending.is_overdue():
                _say("The training has had its last word and does not end: it is ended.")
                _end_all(worker)
            time.sleep(_LOOK_EVERY_S)


class _Ending:
    """Whether a worker that has had its last word hangs: its model waits, and the time is paid."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._offset = 0
        self._said_at: float | None = None

    def is_overdue(self) -> bool:
        new, self._offset = read_events(self._events, self._offset)
        if new:
            self._said_at = None if last_final(new) is None else time.monotonic()
        return self._said_at is not None and time.monotonic() > self._said_at + _EXITS_WITHIN_S


def _end_all(worker: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then end it and all below it."""
    with suppress(psutil.NoSuchProcess):
        below = psutil.Process(worker.pid).children(recursive=True)
        worker.terminate()
        with suppress(subprocess.TimeoutExpired):
            worker.wait(_ENDS_WITHIN_S)
        for one in below:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    worker.kill()
    worker.wait()


def told(err: StudioError) -> str:
    """In a line of the Job's log."""
    if not isinstance(err, NotAllowed):
        return err.user_message
    return (
        f"{err.user_message} Nothing comes back with the token that this was started with, while"
        " it is refused: cancel the Job if it will stay so."
    )


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  (the Job's log)


def _say_failed(folder: Path, message: str, hint: str) -> None:
    writer = EventWriter(folder / EVENTS_FILE)
    writer.write(Failed(message=message, hint=hint))
    writer.close()


def _is_done(line: bytes) -> bool:
    try:
        return bool(parse_event(line).kind == "done")
    except ValidationError:
        return False


def _tail(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_BYTES))
        return file.read()


def _interval_s() -> float:
    return max(0.2, float(os.environ.get(INTERVAL_VARIABLE) or PUSH_EVERY_S))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
