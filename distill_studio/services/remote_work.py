"""The job that watches a training on another machine: send, start, follow, bring home.

Whatever happens to the app, the next start goes on from `remote.json`: a Job that runs is found
again and never started twice, events that are here are not read twice.
"""

from __future__ import annotations

import math
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import huggingface_hub

from distill_studio.core.actor import Role
from distill_studio.core.errors import (
    Cancelled,
    InvalidInput,
    NotAllowed,
    NotFound,
    StudioError,
    Unavailable,
)
from distill_studio.core.records import Run, RunState
from distill_studio.core.records.base import utc_now
from distill_studio.distill.command import CONFIG_FILE
from distill_studio.distill.config import RunConfig, load_config
from distill_studio.distill.events import EVENTS_FILE, last_final, read_events
from distill_studio.hub.client import ENDPOINT_VARIABLE, PUBLIC_HUB, endpoint
from distill_studio.hub.jobs import HubJobs, JobOrder, JobView
from distill_studio.hub.repository import HubRepository, Upload
from distill_studio.hub.run_repository import RunRepository
from distill_studio.remote import package, records
from distill_studio.remote.start import TOKEN_VARIABLE
from distill_studio.services import hub_tokens, remote_state
from distill_studio.services.jobs import JobContext, NeedsKey
from distill_studio.services.remote_events import (
    Damaged,
    ModelLost,
    explained,
    figures,
    take_events,
    take_log,
    take_model,
)
from distill_studio.services.remote_models import from_hub
from distill_studio.services.remote_state import RemoteRun
from distill_studio.services.training import report_event
from distill_studio.store import runs as table

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

POLL_S = 10.0
_LONGEST_POLL_S = 120.0  # while the Hub does not answer
_TIMEOUT_SLACK_S = 20.0


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

    def run(self, context: JobContext) -> dict[str, Any]:
        """Train elsewhere to the end; returns the final figures.

        Raises:
            Cancelled: Stopped on request, or the app closes (the Job trains on).
            NeedsKey: The token was given for a session that is over, or is refused now.
            Unavailable: The training failed, or its machine ended it; says why.
        """
        name = str(context.params["run"])
        run = table.get(self._db, name)
        if run is None:
            raise NotFound(f"There is no run '{name}' any more.")
        if run.state is RunState.DONE:
            return run.metrics
        context.actor.require(Role.OWNER)  # whoever resumes the job pays with the owner's token
        hub_tokens.of_job(self._workspace, context.params)
        token = hub_tokens.needed(self._workspace)
        return _Journey(self._workspace, run, self._folder / name, token, context).go()


class _Journey:
    """One run's way to another machine and back."""

    def __init__(
        self, workspace: Workspace, run: Run, folder: Path, token: str, context: JobContext
    ) -> None:
        state = remote_state.load(folder)
        if state is None:
            raise NotFound(f"The run '{run.name}' does not say where it trains.")
        self._db = workspace.db
        self._jobs = workspace.jobs
        self._run = run
        self._folder = folder
        self._token = token
        self._context = context
        self._state = state
        self._hub = RunRepository(token)
        self._machines = HubJobs(token)
        self._seen: dict[str, Any] = {}
        self._wait_s = POLL_S

    def go(self) -> dict[str, Any]:
        try:
            return self._go()
        except NotAllowed as err:  # revoked, or no right: what runs there runs on
            if self._state.hub_job:
                told = f"{explained(err, self._token)} {_REFUSED.format(url=self._state.url)}"
                self._update(error=told)
                raise NeedsKey(err.user_message, err.hint, hub_tokens.HUB) from err
            raise self._failed(err) from err
        except (InvalidInput, NotFound) as err:
            self._cancel_there()
            raise self._failed(err) from err

    def _go(self) -> dict[str, Any]:
        if self._state.is_over and not self._has_ended_well():
            self._keep(**self._state.again().model_dump())
        if not self._state.commit:
            self._send()
        if self._state.kind == "job" and not self._state.hub_job:
            self._order()
        self._update(state=RunState.RUNNING, error="", ended_at=None, pid=None, pid_started=None)
        for event in self._events():
            report_event(event, self._seen, self._context)
        return self._follow()

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
        self._context.cancel.raise_if_cancelled()
        view = self._machines.start(
            JobOrder(
                namespace=self._state.namespace,
                label=f"{self._run.id}-{self._state.attempt}",
                image=self._state.image,
                command=["sh", "-c", command(self._state)],
                flavor=self._state.flavor,
                timeout_s=self._state.timeout_s,
                secrets={TOKEN_VARIABLE: self._token},
                environment=environment(self._state),
            )
        )
        self._keep(hub_job=view.id, url=view.url, stage=view.stage)
        self._context.log(f"Started the Job {view.id} on {self._state.flavor}: {view.url}")

    # -- following ------------------------------------------------------------------------

    def _follow(self) -> dict[str, Any]:
        """Until the training has had its last word, or its machine has."""
        while True:
            if self._context.cancel.is_cancelled:
                self._stop()
                continue
            try:
                view = self._look()
                self._take()  # after the look: of a Job that is over, all that it said
                self._wait_s = POLL_S
            except Unavailable as err:  # the Hub's bad hour is not the training's
                self._context.log(f"{explained(err, self._token)} Asking again.")
                self._wait_s = min(_LONGEST_POLL_S, 2 * self._wait_s)
                view = None
            final = last_final(self._events())
            if final is not None and (view is None or view.is_over or final.kind == "done"):
                return self._conclude(final)
            if view is not None and view.is_over:
                self._ended_there(view)
            self._context.cancel.wait(self._wait_s)

    def _look(self) -> JobView | None:
        if not self._state.hub_job:
            return None
        view = self._machines.look(self._state.namespace, self._state.hub_job)
        ran = self._state.ran(max(view.running_s or 0.0, self._state.running_s))
        self._keep(**(ran.model_dump() | {"stage": view.stage}))
        self._update(metrics=self._seen | self._meter())
        return view

    def _take(self) -> None:
        self._state, events = take_events(self._hub, self._state, self._folder)
        for event in events:
            report_event(event, self._seen, self._context)
        if self._state.kind == "job":
            note = f"{self._state.stage.lower()}, {meter_text(self._state)}"
            at = int(self._seen.get("step", 0))
            self._context.progress(at, self._seen.get("total"), note)

    def _stop(self) -> None:
        """Cancel the Job and say so; without effect while the app closes.

        Where the Hub does not answer it is asked again at the next look: until then it is paid.
        """
        if self._jobs.is_shutting_down:
            raise Cancelled("The app closes; the training goes on there.")
        self._context.progress(int(self._seen.get("step", 0)), None, "Cancelling the Job.")
        try:
            if self._state.hub_job:
                self._machines.cancel(self._state.namespace, self._state.hub_job)
            self._look()
            self._take()
        except Unavailable as err:
            self._context.log(f"{explained(err, self._token)} Asking again.")
            time.sleep(self._wait_s)
            return
        self._end(RunState.STOPPED)
        raise Cancelled("Stopped on request.")

    def _cancel_there(self) -> None:
        if self._state.hub_job and not self._state.is_over:
            try:
                self._machines.cancel(self._state.namespace, self._state.hub_job)
            except StudioError as err:
                self._context.log(f"The Job was not cancelled: {explained(err, self._token)}")

    # -- the end --------------------------------------------------------------------------

    def _conclude(self, final: Any) -> dict[str, Any]:  # noqa: ANN401  (Done, Failed or Stopped)
        if final.kind == "stopped":
            self._end(RunState.STOPPED)
            raise Cancelled("It was stopped there.")
        if final.kind == "failed":
            raise self._failed(Unavailable(final.message[:1000], final.hint[:1000]))
        self._context.progress(int(self._seen.get("step", 0)), None, "Downloading the model.")
        try:
            take_model(self._hub, self._state, self._folder)
        except StudioError as err:
            misses = self._state.misses + isinstance(err, Damaged)
            self._keep(misses=misses, is_lost=isinstance(err, ModelLost) or misses > 1)
            raise self._failed(err) from err
        metrics = figures(final.metrics) | self._meter()
        self._end(RunState.DONE, metrics=metrics)
        return metrics

    def _ended_there(self, view: JobView) -> NoReturn:
        """The Job is over, and the training said nothing of an end before: why."""
        log = self._machines.log_tail(self._state.namespace, self._state.hub_job)
        take_log(self._hub, self._state, self._folder, log.replace(self._token, "[token]"))
        if view.stage == "CANCELED":
            self._end(RunState.STOPPED, error="The Job was cancelled on the Hub.")
            raise Cancelled("The Job was cancelled on the Hub.")
        raise self._failed(_why(view, self._state, log.replace(self._token, "[token]")))

    def _failed(self, err: StudioError) -> StudioError:
        self._end(RunState.FAILED, error=explained(err, self._token))
        return err

    def _end(self, state: RunState, **fields: Any) -> None:  # noqa: ANN401
        self._keep(is_over=True)
        fields = {"metrics": self._seen | self._meter()} | fields
        self._update(state=state, ended_at=utc_now(), **fields)

    def _has_ended_well(self) -> bool:
        """Trained and paid for, but not brought home yet, which still may go well."""
        final = last_final(self._events())
        return final is not None and final.kind == "done" and not self._state.is_lost

    def _events(self) -> list[Any]:
        return read_events(self._folder / EVENTS_FILE, self._state.begins_at)[0]

    def _meter(self) -> dict[str, Any]:
        if self._state.kind != "job":
            return {"flavor": "another machine"}
        return {
            "flavor": self._state.flavor,
            "paid_minutes": math.ceil(self._state.running_s / 60),
            "usd": round(self._state.usd, 4),
        }

    def _keep(self, **fields: Any) -> None:  # noqa: ANN401
        changed = RemoteRun(**(self._state.model_dump() | fields))
        if changed != self._state:
            self._state = remote_state.save(self._folder, changed)

    def _update(self, **fields: Any) -> None:  # noqa: ANN401
        table.update(self._db, self._run.name, **fields)


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


def meter_text(state: RemoteRun) -> str:
    """`4 min on a10g-small, $0.07 so far`."""
    minutes = math.ceil(state.running_s / 60)
    return f"{minutes} min on {state.flavor}, ${state.usd:.2f} so far"


def _why(view: JobView, state: RemoteRun, log: str) -> Unavailable:
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "")[:300]
    is_late = "timeout" in view.message.lower() or (
        0 < state.timeout_s <= state.running_s + _TIMEOUT_SLACK_S
    )
    if is_late:
        return Unavailable(
            f"The Job reached its time limit of {state.timeout_s / 60:g} minutes.",
            "Start it again with a longer limit (On a rented GPU): from the first update.",
        )
    said = f" The Hub says: {view.message}" if view.message else ""
    printed = f" Its last line: {last}" if last else ""
    return Unavailable(
        f"The Job ended ({view.stage}) before the training had a last word.{said}{printed}",
        f"Look at its log below and at {state.url}.",
    )


def _fit(name: str) -> str:
    """A run's name as part of a repository's: no `--`, no `..`, no end that the Hub refuses."""
    kept = "".join(sign if sign.isalnum() else "-" for sign in name)
    return "-".join(part for part in kept.split("-") if part)[:60]


_REFUSED = (
    "The Job trains on and is paid: {url}. It holds the token that it was started with: if that is"
    " the one refused, its model cannot come back. Stop cancels it."
)
_CARD = """---
tags:
- distill-studio
---
# Run {name}

A training of Distill Studio on another machine: `package/` went there, `attempts/` and the model in
`model/` came back. The app publishes a finished model with a card of its own.
"""
