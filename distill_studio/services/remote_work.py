"""The job of a training on another machine: send, order, then follow (`remote_watch`).

Whatever happens to the app, the next start goes on from `remote.json`: a Job that runs is found
again and never started twice, none is ordered that nobody asked for, a stop is not forgotten.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub

from distill_studio.core.actor import Role
from distill_studio.core.errors import (
    Cancelled,
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    StudioError,
    Unavailable,
)
from distill_studio.core.records import Job, JobState, Run, RunState
from distill_studio.core.records.base import utc_now
from distill_studio.distill.command import CONFIG_FILE
from distill_studio.distill.config import RunConfig, load_config
from distill_studio.distill.events import last_final
from distill_studio.hub.client import ATTEMPTS, ENDPOINT_VARIABLE, PUBLIC_HUB, endpoint
from distill_studio.hub.jobs import JobOrder, JobView
from distill_studio.hub.repository import HubRepository, Upload
from distill_studio.remote import package, records
from distill_studio.remote.start import TOKEN_VARIABLE
from distill_studio.services import hub_tokens, remote_state
from distill_studio.services.jobs import JobContext, NeedsKey
from distill_studio.services.remote_events import explained
from distill_studio.services.remote_models import from_hub
from distill_studio.services.remote_state import RemoteRun
from distill_studio.services.remote_watch import Watch
from distill_studio.services.training import report_event
from distill_studio.store import runs as table

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

POLL_S = 10.0
_LONGEST_POLL_S = 120.0  # while the Hub does not answer


class RemoteTraining:
    """Handler of jobs of kind `train_remote`, whose parameter is the run's name.

    Args:
        workspace: Its runs and its token.
        runs_folder: Of all runs.
    """

    def __init__(self, workspace: Workspace, runs_folder: Path) -> None:
        self._workspace = workspace
        self._db = workspace.db
        self._folder = runs_folder
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def run(self, context: JobContext) -> dict[str, Any]:
        """Bring the world in line with what was asked for; returns the final figures.

        Raises:
            Cancelled: Stopped on request, or the app closes (the Job trains on).
            NeedsKey: The token was given for a session that is over, or is refused now.
            Unavailable: The training failed, or its machine ended it; says why.
        """
        name = str(context.params["run"])
        with self._turn(name):  # never two at once for a run
            run = table.get(self._db, name)
            if run is None:
                raise NotFound(f"There is no run '{name}' any more.")
            if run.job_id != context.job.id:
                raise Conflict(f"Another job has gone on with the run '{name}' since.")
            if run.state is RunState.DONE:
                return run.metrics
            state = remote_state.load(self._folder / name)
            if state is None:
                raise NotFound(f"The run '{name}' does not say where it trains.")
            if state.is_over and run.state not in (RunState.QUEUED, RunState.RUNNING):
                raise _told_before(run)  # the app was closed before the job was told
            if state.is_stopped and not (state.may_run or state.is_taken):
                remote_state.change(self._folder / name, is_over=True)
                table.update(self._db, name, state=RunState.STOPPED, ended_at=utc_now())
                raise Cancelled("Stopped on request.")
            remote_state.change(self._folder / name, is_over=False)  # its end was not written
            token = self._token(context, state)
            return _Journey(
                self._workspace, run, self._folder / name, token, context, (POLL_S, _LONGEST_POLL_S)
            ).go()

    def stopping(self, job: Job) -> None:
        """Somebody stops a job, whatever it waits for: remembered until the Hub has said so."""
        name = str(job.params["run"])
        run = table.get(self._db, name)
        if run is None or run.job_id != job.id or run.state is RunState.DONE:
            return
        try:
            remote_state.ask_stop(self._folder / name)
        except OSError:  # a full disk: who watches hears of it all the same
            if job.state is not JobState.RUNNING:
                raise

    def resuming(self, job: Job) -> None:
        """Somebody resumes a job: one that waits goes on, of others the run is resumed.

        Raises:
            Conflict: It has ended; to begin anew costs money, and is asked for by the run's name.
        """
        if job.state in (JobState.CANCELLED, JobState.FAILED, JobState.DONE):
            raise Conflict(
                "A training on another machine is not resumed by its job.",
                f"Resume the run '{job.params['run']}' on the Distill page (distill_resume).",
            )

    def _token(self, context: JobContext, state: RemoteRun) -> str:
        try:
            if not state.namespace:  # else any token of that account serves: `_check_account`
                hub_tokens.of_job(self._workspace, context.params)
            return hub_tokens.needed(self._workspace)
        except NeedsKey as err:
            if state.is_begun:
                told = f"{err.user_message} {_still_there(state)}"
                table.update(self._db, str(context.params["run"]), error=told)
                raise NeedsKey(told, err.hint, err.teacher) from err
            raise

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            yield


class _Journey(Watch):
    """One run's way to another machine and back."""

    def go(self) -> dict[str, Any]:
        """From where it is to its end: nothing that goes wrong here ends the watch before."""
        while True:
            try:
                return self._go()
            except NotAllowed as err:  # revoked, or no right: what runs there runs on
                if self.is_ended or not self._state.is_begun:
                    raise self.failed(err) from err
                told = f"{explained(err, self._token)} {_still_there(self._state)}"
                with suppress(Exception):
                    self._update(
                        error=f"{told} {_KEEPS_ITS_TOKEN}" if self._state.may_run else told
                    )
                raise NeedsKey(err.user_message, err.hint, hub_tokens.HUB) from err
            except Cancelled:  # while it was sent
                if not (self.is_ended or self._jobs.is_shutting_down or self._state.may_run):
                    self.end(RunState.STOPPED)
                raise
            except NeedsKey:
                raise
            except Exception as err:  # a full disk, a store that cannot be written: it is paid
                if self.is_ended or not self._state.is_begun:
                    if isinstance(err, InvalidInput | NotFound | Conflict):
                        self.failed(err)
                    raise
                self.wait_here(err)

    def _go(self) -> dict[str, Any]:
        self._check_account()
        final = last_final(self._events()) if self._state.is_taken else None
        if final is not None:  # also after a stop: what is left is the Job's end
            return self._bring_home(final)
        self.obey()
        if not self._state.commit and self._is_made_before():
            self._state = remote_state.go_back(self._folder)
            self._context.log("The start before has made a model: it is fetched.")
        if not self._state.commit:
            self._send()
        if self._state.kind == "job":
            self._order()
        self._update(state=RunState.RUNNING, error="", ended_at=None, pid=None, pid_started=None)
        for event in self._events():
            report_event(event, self._seen, self._context)
        return self.follow()

    def _check_account(self) -> None:
        """Another's token sees nothing of a Job, which must not be taken for its end.

        Raises:
            NeedsKey: It is a token of somebody else.
        """
        owner = self._state.namespace
        while True:
            try:
                user = self._machines.account(attempts=2).user
                break
            except Unavailable as err:
                if not self._state.is_begun:
                    raise
                self.wait_for_hub(err)
        if owner and user != owner:
            told = f"The run's repository and Job are of {owner}; this is a token of {user}."
            self._update(error=f"{told} {_still_there(self._state)}".strip())
            raise NeedsKey(told, f"Give a token of {owner}.", hub_tokens.HUB)

    def _is_made_before(self) -> bool:
        """Whether the attempt before left a model whose arrival was never heard of: it is paid."""
        before = self._state.before
        if before is None or before.is_lost or not before.repo:
            return False
        place = records.attempt_folder(before.attempt)
        with suppress(NotFound):
            return f"{place}/{records.RESULT}" in self._hub.files(before.repo, place, ATTEMPTS)
        return False

    # -- there ----------------------------------------------------------------------------

    def _send(self) -> None:
        """Bring the package to the Hub; what is there already is not sent again."""
        config = load_config(self._folder / CONFIG_FILE)
        hub = HubRepository(self._token, self._context.cancel, self._context.progress)
        repo = self._state.repo
        if not repo:
            owner = hub.account().user
            repo = f"{owner}/distill-{_fit(self._run.name)}-{self._run.id[-8:]}"
            self._keep(repo=repo, namespace=owner)
        upload = self._upload(config, repo)
        self._context.log(f"Sending the run to {repo}.")
        pushed = hub.push(upload)
        self._keep(commit=pushed.commit, url=pushed.url)

    def _upload(self, config: RunConfig, repo: str) -> Upload:
        from_there = from_hub(config)
        files = package.pack(config, repo, self._state.attempt, from_there)
        return Upload(
            repo_id=repo,
            kind="model",
            files=files,
            card=_CARD.format(name=self._run.name),
            marks={"kind": "run", "name": self._run.name, "content_hash": self._run.id},
            private=True,
            message=f"Run {self._run.name}, attempt {self._state.attempt}",
        )

    def _order(self) -> None:
        """Start the Job, once: a start whose answer was lost is found by its label."""
        while not self._state.hub_job:
            self.obey()
            try:
                found = self._machines.labelled(self._state.namespace, self.label)
                self._take_over(found[0] if found else self._posted())
            except NotAllowed:
                raise
            except StudioError as err:
                if not self._state.may_run:
                    raise
                self.wait_for_hub(err)

    def _posted(self) -> JobView:
        """Order it: who asked for this attempt pays."""
        self._context.actor.require(Role.OWNER)
        was_ordered = self._state.is_ordered
        self._keep(is_ordered=True)
        try:
            return self._machines.start(self._job_order(), attempts=1)
        except Unavailable:  # it may have been taken
            raise
        except StudioError:
            self._keep(is_ordered=was_ordered)
            raise

    def _job_order(self) -> JobOrder:
        return JobOrder(
            namespace=self._state.namespace,
            label=self.label,
            image=self._state.image,
            command=["sh", "-c", command(self._state)],
            flavor=self._state.flavor,
            timeout_s=self._state.timeout_s,
            secrets={TOKEN_VARIABLE: self._token},
            environment=environment(self._state),
        )

    def _take_over(self, view: JobView) -> None:
        self._keep(hub_job=view.id, url=view.url, stage=view.stage, is_ordered=True)
        self._context.log(f"Started the Job {view.id} on {self._state.flavor}: {view.url}")


def environment(state: RemoteRun) -> dict[str, str]:
    """Variables of the Job that everybody may see."""
    found = {"HF_HUB_DISABLE_TELEMETRY": "1", records.LIMIT_VARIABLE: str(state.timeout_s)}
    if state.gpus:
        found[records.DEVICE_VARIABLE] = "cuda"
    if endpoint() != PUBLIC_HUB:
        found[ENDPOINT_VARIABLE] = endpoint()
    return found


def command(state: RemoteRun) -> str:
    """What another machine with Python runs, as a line for a POSIX shell; holds no secret.

    The package is that of one commit: what was checked is what runs. Its folder is new and nobody
    else's, so that the program which gets the token is nobody else's either.
    """
    skip = f'[ "${records.SKIP_INSTALL}" = skip ]'
    client = f"huggingface_hub=={huggingface_hub.__version__}"
    install = f"env -u {TOKEN_VARIABLE} python -m pip install --quiet {client}"
    where = ""
    if endpoint() != PUBLIC_HUB:
        where = f"export {ENDPOINT_VARIABLE}={shlex.quote(endpoint())} && "
    return (
        f'{where}there=$(mktemp -d "${{TMPDIR:-/tmp}}/distill-run.XXXXXXXX")'
        f" && {{ {skip} || {install}; }}"
        f" && hf download {shlex.quote(state.repo)} --revision {shlex.quote(state.commit)}"
        f""" --include '{records.PACKAGE}/*' --local-dir "$there" --quiet"""
        f' && exec python "$there/{records.PACKAGE}/{records.START}"'
    )


def _told_before(run: Run) -> StudioError:
    if run.state is RunState.STOPPED:
        return Cancelled(run.error or "Stopped on request.")
    return Unavailable(run.error or "It has ended.", "Resume the run.")


def _still_there(state: RemoteRun) -> str:
    if not state.is_begun:
        return ""
    if state.kind == "machine":
        return "What the other machine says and makes is fetched once a token is there."
    if not state.may_run:
        return "What its Job made is fetched once a token is there."
    if state.is_stopped:
        return f"The Job is cancelled as soon as a token is there. It may run: {state.where}"
    if not state.hub_job:
        return f"Whether its Job was started is not known. Look at {state.where}"
    return f"The Job trains on: {state.url}"


def _fit(name: str) -> str:
    """A run's name as part of a repository's: no `--`, no `..`, no end that the Hub refuses."""
    kept = "".join(sign if sign.isalnum() else "-" for sign in name)
    return "-".join(part for part in kept.split("-") if part)[:60]


_KEEPS_ITS_TOKEN = (
    "It holds the token that it was started with: if that is the one refused, its model cannot come"
    " back. Stop cancels it."
)
_CARD = """---
tags:
- distill-studio
---
# Run {name}

A training of Distill Studio on another machine: `package/` went there, `attempts/` and the model in
`model/` came back. The app publishes a finished model with a card of its own.
"""
