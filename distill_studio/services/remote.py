"""Remote: a run of Distill on a rented machine (a Hugging Face Job), or on any other one.

The run stands in the list of Distill like each other: its page, stop, resume, compare and push are
those of Distill. Owners only: it is paid with their token.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.core.records import JobState, Record, Run, RunState
from distill_studio.distill.command import CONFIG_FILE
from distill_studio.distill.config import RunConfig, load_config
from distill_studio.distill.preflight import check, refuse
from distill_studio.distill.spec import TrainSpec
from distill_studio.hub.jobs import Flavor, HubJobs
from distill_studio.hub.repository import page_of
from distill_studio.remote.package import refuse_served
from distill_studio.services import hub_tokens, remote_state
from distill_studio.services.base import Service
from distill_studio.services.remote_estimate import (
    RemoteQuote,
    checked_limit,
    quote,
    refuse_unfit,
)
from distill_studio.services.remote_models import packed_bytes
from distill_studio.services.remote_state import REMOTE_FILE, REMOTE_KIND, RemoteRun, Where
from distill_studio.services.remote_work import RemoteTraining, command
from distill_studio.store import jobs, runs

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

logger = logging.getLogger(__name__)

# The Python of this app; the CUDA libraries come with torch, the driver is the machine's.
IMAGE = f"python:{sys.version_info.major}.{sys.version_info.minor}"
_FLAVORS_FOR_S = 600.0
_WATCHED = (JobState.QUEUED, JobState.RUNNING, JobState.NEEDS_KEY)


class RemoteStatus(Record):
    """How a run on another machine stands, and what it costs."""

    kind: Where = Field(description="job or machine.")
    flavor: str = Field(description="The machine; '' for one of your own.")
    stage: str = Field(description="As the Hub says: SCHEDULING, RUNNING, COMPLETED, ...")
    running_s: float = Field(description="Seconds that the newest attempt has run.")
    usd: float = Field(description="Cost so far, all attempts.")
    usd_per_minute: float = Field(description="Price.")
    limit_minutes: float = Field(description="Time limit of an attempt; 0 = none.")
    limit_usd: float = Field(description="The most that this attempt can cost.")
    attempt: int = Field(description="Number of the newest start.")
    may_run: bool = Field(description="Its Job may run and cost money: it can be stopped.")
    is_paid_again: bool = Field(
        description="A resume orders a Job; else it follows or fetches what there is."
    )
    job_url: str = Field(description="Page of the Job; '' before there is one.")
    repo: str = Field(description="Private repository with the package and the model.")
    repo_url: str = Field(description="Its page.")
    command: str = Field(description="What the other machine runs; '' before it was sent.")


class RemoteService(Service):
    """Runs on other machines."""

    word = "remote"

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._folder = workspace.folder / "runs"
        self._known: tuple[float, list[Flavor]] = (0.0, [])
        self._asking = threading.Lock()
        training = RemoteTraining(workspace, self._folder)
        workspace.jobs.register(
            REMOTE_KIND,
            training.run,
            lane="watch",
            least=Role.OWNER,
            stopping=training.stopping,
            resuming=training.resuming,
        )

    # -- operations -----------------------------------------------------------------------

    def flavors(self, actor: Actor) -> list[Flavor]:
        """Machines that Hugging Face rents, with prices, the cheapest first; asks the Hub.

        Raises:
            NeedsKey: There is no token.
            NotAllowed: The Hub does not know it.
            Unavailable: The Hub cannot be reached.
        """
        actor.require(Role.OWNER)
        with self._asking:
            asked_at, known = self._known
            if not known or time.monotonic() - asked_at > _FLAVORS_FOR_S:
                known = HubJobs(hub_tokens.needed(self.workspace)).flavors()
                self._known = (time.monotonic(), known)
        return known

    def estimate(
        self, actor: Actor, spec: TrainSpec, flavor: str, limit_minutes: int = 0
    ) -> RemoteQuote:
        """Pre-flight for a machine, how long it may take and what it costs; starts nothing.

        Args:
            actor: Who asks.
            spec: What would be trained.
            flavor: Name of a machine of `flavors`.
            limit_minutes: After which the Hub ends it; 0 = by the estimate.
        """
        actor.require(Role.OWNER)
        config = self.workspace.distill.config_of(actor, spec)
        return self._quote(actor, config, flavor, limit_minutes)

    def start(
        self,
        actor: Actor,
        spec: TrainSpec,
        flavor: str,
        limit_minutes: int = 0,
        image: str = IMAGE,
    ) -> Run:
        """Train as a Hugging Face Job. It is paid by the minute by the token's owner.

        Raises:
            InvalidInput: What cannot work there, with the way out; nothing was paid.
            Conflict: There is a run of that name.
            NeedsKey: There is no token.
        """
        actor.require(Role.OWNER)
        config = self.workspace.distill.config_of(actor, spec)
        quoted = self._quote(actor, config, flavor, limit_minutes)
        for one in quoted.findings:
            if one.level == "error":
                raise InvalidInput(one.message, one.hint)
        state = RemoteRun(
            kind="job",
            flavor=flavor,
            gpus=quoted.flavor.gpus,
            usd_per_minute=quoted.flavor.usd_per_minute,
            timeout_s=60 * quoted.limit_minutes,
            image=image,
        )
        return self._enter(actor, spec, state)

    def start_elsewhere(self, actor: Actor, spec: TrainSpec) -> Run:
        """Send a run to a private repository and wait until some machine has trained it.

        `status` then shows the command that this machine runs.

        Raises:
            InvalidInput: What cannot work there, with the way out.
            Conflict: There is a run of that name.
            NeedsKey: There is no token.
        """
        actor.require(Role.OWNER)
        hub_tokens.needed(self.workspace)
        config = self.workspace.distill.config_of(actor, spec)
        refuse(check(config))
        refuse_served(config)
        packed_bytes(config)
        return self._enter(actor, spec, RemoteRun(kind="machine"))

    def status(self, actor: Actor, name: str) -> RemoteStatus | None:
        """How a run on another machine stands; null for one that trains here."""
        actor.require(Role.VIEWER)
        run = self.workspace.distill.get(actor, name)
        state = remote_state.load(self._folder / run.name)
        if state is None:
            return None
        return RemoteStatus(
            kind=state.kind,
            flavor=state.flavor,
            stage=state.stage,
            running_s=state.running_s,
            usd=state.usd,
            usd_per_minute=state.usd_per_minute,
            limit_minutes=state.timeout_s / 60,
            limit_usd=state.timeout_s / 60 * state.usd_per_minute,
            attempt=state.attempt,
            may_run=state.may_run,
            is_paid_again=remote_state.is_paid_again(self._folder / run.name),
            job_url=state.url if state.hub_job else "",
            repo=state.repo,
            repo_url=page_of(state.repo, "model") if state.repo else "",
            command=command(state) if state.commit else "",
        )

    def resume(self, actor: Actor, name: str, flavor: str = "", limit_minutes: int = 0) -> Run:
        """Start a run that ended early again, on another machine or with a longer limit.

        It begins from the first update. Where a Job of it may still run that one is followed, and
        where only its model was not brought home that is fetched: machine and limit then stay.

        Raises:
            NotFound: It is no run on a rented machine.
            Conflict: It runs, or is done.
        """
        actor.require(Role.OWNER)
        run = self.workspace.distill.get(actor, name)
        state = remote_state.load(self._folder / run.name)
        if state is None or state.kind != "job":
            raise NotFound(f"The run '{name}' trains on no rented machine.", "Resume it as usual.")
        if run.state in (RunState.QUEUED, RunState.RUNNING, RunState.DONE):
            raise Conflict(f"The run '{name}' cannot resume: it is {run.state.value}.")
        terms = self.terms(actor, name, flavor, limit_minutes)
        return self.workspace.distill.go_on(actor, name, terms)

    # -- for other services ---------------------------------------------------------------

    def terms(
        self, actor_: Actor, name: str, flavor: str = "", limit_minutes: int = 0
    ) -> dict[str, Any]:
        """Machine, price of today and limit of the Job that a resume orders; {}: it orders none.

        Raises:
            InvalidInput: There is no such machine, the run cannot train on it, or that limit
                cannot be.
        """
        limit = {"timeout_s": 60 * checked_limit(limit_minutes)} if limit_minutes else {}
        folder = self._folder / name
        state = remote_state.load(folder)
        if state is None or not remote_state.is_paid_again(folder):
            return {}
        chosen = self._flavor(actor_, flavor or state.flavor)
        refuse_unfit(load_config(folder / CONFIG_FILE), chosen)
        told = {"flavor": chosen.name, "usd_per_minute": chosen.usd_per_minute}
        return told | {"gpus": chosen.gpus} | limit

    def watch_again(self) -> None:
        """Follow what may run and no job follows, be it that an error ended that. At the start.

        Nothing is ordered: where no Job of the run is known, a person resumes or stops it.
        """
        for folder in sorted(self._folder.iterdir()) if self._folder.exists() else ():
            try:
                self._watch_again(folder)
            except Exception:  # one that cannot be read keeps no workspace closed
                logger.exception("the run in %s is not watched again", folder)

    def refuse_paid(self) -> None:
        """While a Job of some run may run, its runs are kept.

        Raises:
            Conflict: One may, and costs money.
        """
        for folder in self._folder.iterdir() if self._folder.exists() else ():
            if remote_state.may_run(folder):
                raise Conflict(
                    f"The Job of the run '{folder.name}' may still run, and cost money.",
                    "Give its token, if it waits for one, and stop the run first.",
                )

    # -- inside ---------------------------------------------------------------------------

    def _watch_again(self, folder: Path) -> None:
        run, state = runs.get(self.db, folder.name), remote_state.load(folder)
        if run is None or state is None or not state.may_run:
            return
        job = jobs.get(self.db, run.job_id)
        is_watched = job is not None and job.state in _WATCHED
        if not is_watched and (state.hub_job or state.is_stopped):
            actor = Actor(user=run.user, role=Role.OWNER)
            self.workspace.distill.look_after(actor, run, is_stop=False)

    def _enter(self, actor: Actor, spec: TrainSpec, state: RemoteRun) -> Run:
        hub_tokens.needed(self.workspace)
        distill = self.workspace.distill
        beside = {REMOTE_FILE: state.model_dump_json(indent=1) + "\n"}
        return distill.enter(actor, spec, distill.config_of(actor, spec), beside)

    def _quote(
        self, actor: Actor, config: RunConfig, flavor: str, limit_minutes: int
    ) -> RemoteQuote:
        return quote(
            self.db, config, self._flavor(actor, flavor), limit_minutes, runs_folder=self._folder
        )

    def _flavor(self, actor: Actor, name: str) -> Flavor:
        known = self.flavors(actor)
        found = next((one for one in known if one.name == name), None)
        if found is None:
            names = ", ".join(one.name for one in known[:30])
            raise InvalidInput(
                f"'{name[:100]}' is no machine for Jobs.", f"Choose one of: {names}."
            )
        return found
