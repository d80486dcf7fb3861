"""Following a training on another machine to its end: the Job, its events, its model, a stop.

Once a Job may run, an error of the Hub means to wait and to ask again. It is cancelled when a
person stops it, and where nobody wants it any more; never because something went wrong here.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from distill_studio.core.errors import (
    Cancelled,
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    StudioError,
    Unavailable,
)
from distill_studio.core.records import Run, RunState
from distill_studio.core.records.base import utc_now
from distill_studio.distill.events import EVENTS_FILE, last_final, read_events
from distill_studio.hub.jobs import HubJobs, JobView
from distill_studio.hub.run_repository import RunRepository
from distill_studio.services import remote_state
from distill_studio.services.jobs import JobContext
from distill_studio.services.remote_events import (
    Damaged,
    ModelLost,
    explained,
    figures,
    take_events,
    take_log,
    take_model,
)
from distill_studio.services.remote_state import RemoteRun
from distill_studio.services.training import report_event
from distill_studio.store import runs as table

if TYPE_CHECKING:
    from distill_studio.services.workspace import Workspace

logger = logging.getLogger(__name__)

_TIMEOUT_SLACK_S = 20.0
_GONE = 2  # answers in a row that say so: one may be a lag, or an outage
_ALONE = 3  # lists in a row without another Job of the attempt: it may show a lost start late
_REFUSED = 20  # refusals in a row, of what a Job that is over has left
_ENDS_WITHIN = 12  # looks after its last word
_SILENT_S = 7 * 24 * 3600.0  # that another machine may be
T = TypeVar("T")


class Watch:
    """What follows a run there, and ends it.

    Args:
        workspace: Its store.
        run: Which.
        folder: Of the run, with `remote.json`.
        token: Of whom the Job and the repository are.
        context: Of the job here.
        poll_s: Seconds between two looks, and at most while the Hub does not answer.
    """

    def __init__(
        self,
        workspace: Workspace,
        run: Run,
        folder: Path,
        token: str,
        context: JobContext,
        poll_s: tuple[float, float],
    ) -> None:
        state = remote_state.load(folder)
        assert state is not None  # its job has looked
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
        self._poll_s, self._longest_s = poll_s
        self._wait_s = self._poll_s
        self._gone: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._absent = 0  # how often in a row neither its Job nor another was there
        self._alone = 0
        self._silent = 0  # reads in a row, after its end, without a word
        self._told = ""
        self._error: StudioError | None = None
        self.is_ended = False

    @property
    def label(self) -> str:
        """Of the Jobs of this attempt."""
        return f"{self._run.id}-{self._state.attempt}"

    # -- what is asked for ----------------------------------------------------------------

    def obey(self) -> None:
        """Go on, unless somebody stopped the run or the app closes.

        Raises:
            Cancelled: So it is. After a stop nothing runs there.
        """
        if self._jobs.is_shutting_down:
            raise Cancelled("The app closes; the training goes on there.")
        if self._context.cancel.is_cancelled:
            self._state = self._asked_to_stop()
        else:
            self._keep()
        if self._state.is_stopped:
            self._stop()

    def _asked_to_stop(self) -> RemoteRun:
        try:
            return remote_state.ask_stop(self._folder)
        except OSError:  # a full disk keeps nobody from a stop
            return self._state.model_copy(update={"wanted": "stopped"})

    def wait_here(self, err: Exception) -> None:
        """Something went wrong on this machine: say so, where that can be written, and wait."""
        logger.warning("the watch of the run %s fails, and goes on", self._run.name, exc_info=err)
        told = str(err) if isinstance(err, StudioError) else f"{type(err).__name__}: {err}"
        told = told.replace(self._token, "[token]")[:1000]
        with suppress(Exception):  # the store may be on the same full disk
            self._tell(f"This machine cannot follow it now, and tries again: {told}")
            self._context.log(f"{told} Trying again.")
        self._wait_s = min(self._longest_s, 2 * self._wait_s)
        self._pause(self._wait_s)

    def wait_for_hub(self, err: StudioError) -> None:
        """Say what went wrong and wait, longer each time; a stop is obeyed all the same."""
        self._context.log(f"{explained(err, self._token)} Asking again.")
        self._wait_s = min(self._longest_s, 2 * self._wait_s)
        self._pause(self._wait_s)

    def _pause(self, seconds: float) -> None:
        if self._jobs.is_shutting_down:
            raise Cancelled("The app closes; the training goes on there.")
        if self._context.cancel.is_cancelled:
            time.sleep(seconds)
        else:
            self._context.cancel.wait(seconds)

    def _stop(self) -> NoReturn:
        """Cancel what runs, and ask until the Hub has confirmed it: until then it is paid."""
        self._context.progress(int(self._seen.get("step", 0)), None, "Cancelling the Job.")
        while True:
            is_asked = self._tried("cancel", self._cancel_all)  # a refusal proves nothing
            is_settled = self._tried("job", self._is_settled)
            if is_settled:
                break
            is_well = is_asked is not None and is_settled is not None
            self._wait_s = self._poll_s if is_well else min(self._longest_s, 2 * self._wait_s)
            self._pause(self._wait_s)
        with suppress(StudioError, OSError):
            self._take()
        self.end(RunState.STOPPED)
        raise Cancelled("Stopped on request.")

    def _cancel_all(self) -> bool:
        if self._state.hub_job:
            with suppress(NotFound, InvalidInput, Conflict):  # the others are asked all the same
                self._machines.cancel(self._state.namespace, self._state.hub_job)
        if self._state.is_ordered:
            self.cancel_surplus()
        return True

    def _is_settled(self) -> bool:
        """Whether the Hub has confirmed that no Job of this attempt runs.

        Its end is seen, or twice in a row neither the Job nor another of its label is there.

        Raises:
            StudioError: The Hub does not answer.
        """
        if not self._state.is_ordered:
            return True
        view = None
        with suppress(NotFound):
            view = self._look()
        found = self._machines.labelled(self._state.namespace, self.label)
        own = view or next((one for one in found if one.id == self._state.hub_job), None)
        others = [one for one in found if one.id != self._state.hub_job]
        if any(not one.is_over for one in (*others, *([own] if own else []))):
            self._absent = 0
            return False
        if own is not None:
            self._absent = 0
            return True
        self._absent += 1
        return self._absent >= _GONE

    def cancel_surplus(self) -> int:
        """Cancel the Jobs of this attempt but the one that is followed; returns how many."""
        found = self._machines.labelled(self._state.namespace, self.label)
        wanted = [self._state.hub_job] if self._state.hub_job else []
        surplus = [one.id for one in found if not one.is_over and one.id not in wanted]
        for job_id in surplus:
            self._machines.cancel(self._state.namespace, job_id)
            self._context.log(f"Cancelled the Job {job_id}, which nobody wants.")
        return len(surplus)

    # -- following ------------------------------------------------------------------------

    def follow(self) -> dict[str, Any]:
        """Until the training has had its last word, or its machine has."""
        while True:
            self.obey()
            self._cancel_others()
            parts = self._state.parts
            view = self._tried("job", self._look)
            is_read = self._tried("repository", self._take) is not None  # after: all that it said
            final = last_final(self._events())
            if final is not None and final.kind == "done":
                return self._bring_home(final)
            is_gone = self._is_gone(is_heard=self._state.parts > parts)
            is_over = is_gone or not self._state.hub_job or (view is not None and view.is_over)
            if is_over and final is not None:
                self._conclude(final)
            if is_over and is_read and self._state.hub_job:
                is_heard = self._state.parts > parts
                self._silent = 0 if is_heard else self._silent + 1
                if self._silent >= _GONE:  # the Hub's list of files may lag behind the end
                    self._ended_there(view)
            self._give_up(is_over)
            if is_read:
                self._tell("")
                self._keep(unseen=0)
            is_well = is_read and (view is not None or not self._state.hub_job)
            self._wait_s = self._poll_s if is_well else min(self._longest_s, 2 * self._wait_s)
            self._context.cancel.wait(self._wait_s)

    def _is_gone(self, *, is_heard: bool) -> bool:
        """Whether the Hub does not know the Job any more, as often as it is asked."""
        if is_heard or not self._gone.get("job", 0):
            self._gone["job"] = self._absent = 0
        if self._gone["job"] < _GONE:
            return False
        self._tried("jobs", self._is_settled)
        return self._absent >= _GONE

    def _cancel_others(self) -> None:
        """A start whose answer was lost may show late: what is one too many is paid."""
        if self._state.hub_job and self._alone < _ALONE:
            found = self._tried("jobs", self.cancel_surplus)
            self._alone = self._alone + 1 if found == 0 else 0

    def _tried(self, what: str, call: Callable[[], T]) -> T | None:
        """What the Hub says; None where it does not answer, or not as it should."""
        try:
            found = call()
        except (NotFound, InvalidInput, Conflict, Unavailable) as err:
            is_gone, is_passing = isinstance(err, NotFound), isinstance(err, Unavailable)
            self._gone[what] = self._gone.get(what, 0) + 1 if is_gone else 0
            self._refused[what] = 0 if is_passing else self._refused.get(what, 0) + 1
            if what == "repository":
                self._error = err
            self._context.log(f"{explained(err, self._token)} Asking again.")
            return None
        self._gone[what] = self._refused[what] = 0
        return found

    def _give_up(self, is_over: bool) -> None:
        """End the watching where there is nothing to see any more; what may run is not touched."""
        err = self._error
        if err is not None and self._gone.get("repository", 0) >= _GONE:
            told = f"{err.user_message} Its Job may still run, and cost money."
            hint = f"Stop the run, or look at {self._state.where}."
            if self._state.may_run and not is_over:
                self._tell(f"{told} {hint}")
                return
            unseen = self._state.unseen + 1  # a token that does not see it is none that is gone
            self._keep(unseen=unseen)
            why = Unavailable(told, hint) if self._state.may_run else err
            raise self.failed(why, is_over=unseen > 1 and not self._state.may_run)
        if err is not None and is_over and self._refused.get("repository", 0) >= _REFUSED:
            raise self.failed(err, is_over=False)
        events = self._folder / EVENTS_FILE
        heard = max(self._state.wanted_at, events.stat().st_mtime if events.exists() else 0.0)
        if self._state.kind == "machine" and time.time() - heard > _SILENT_S:
            told = "Nothing was heard of the other machine for 7 days."
            raise self.failed(Unavailable(told, "Resume to look again."), is_over=False)

    def _look(self) -> JobView | None:
        if not self._state.hub_job:
            return None
        view = self._machines.look(self._state.namespace, self._state.hub_job)
        ran = self._state.ran(max(view.running_s or 0.0, self._state.running_s))
        self._keep(stage=view.stage, running_s=ran.running_s, attempt_usd=ran.attempt_usd)
        self._update(metrics=self._seen | self._meter())
        return view

    def _take(self) -> bool:
        self._state, events = take_events(self._hub, self._state, self._folder)
        for event in events:
            report_event(event, self._seen, self._context)
        if self._state.kind == "job":
            note = f"{self._state.stage.lower()}, {meter_text(self._state)}"
            at = int(self._seen.get("step", 0))
            self._context.progress(at, self._seen.get("total"), note)
        return True

    # -- the end --------------------------------------------------------------------------

    def _conclude(self, final: Any) -> NoReturn:  # noqa: ANN401  (Failed or Stopped)
        if final.kind == "stopped":
            self.end(RunState.STOPPED, is_over=True)
            raise Cancelled("It was stopped there.")
        raise self.failed(Unavailable(final.message[:1000], final.hint[:1000]), is_over=True)

    def _bring_home(self, final: Any) -> dict[str, Any]:  # noqa: ANN401  (Done)
        err = self._fetched()
        self._see_it_end()
        if err is not None:
            raise self.failed(err, is_over=True) from err
        metrics = figures(final.metrics) | self._meter()
        self.end(RunState.DONE, is_over=True, metrics=metrics)
        return metrics

    def _fetched(self) -> StudioError | None:
        """Take the model, if it is not here; why it did not come."""
        if self._state.is_taken:
            return None
        self._context.progress(int(self._seen.get("step", 0)), None, "Downloading the model.")
        try:
            take_model(self._hub, self._state, self._folder)
        except NotAllowed:
            raise
        except StudioError as err:
            misses = self._state.misses + isinstance(err, Damaged)
            self._keep(misses=misses, is_lost=isinstance(err, ModelLost) or misses > 1)
            return err
        except OSError as err:  # the Job is seen to its end all the same
            told = f"The model could not be written here: {err}"
            return Unavailable(told, "Free some space, then resume: it is only downloaded.")
        self._keep(is_taken=True)
        return None

    def _see_it_end(self) -> None:
        """The meter runs as long as the Job does; one that does not end by itself is cancelled.

        It is watched until the Hub has confirmed its end: nobody looks at it after that.
        """
        for looks in itertools.count():
            is_settled = self._tried("job", self._is_settled)
            if is_settled:
                return
            is_unwanted = self._context.cancel.is_cancelled or self._state.is_stopped
            if looks >= _ENDS_WITHIN or is_unwanted:
                self._tried("job", self._cancel_all)
            is_well = is_settled is not None
            self._wait_s = self._poll_s if is_well else min(self._longest_s, 2 * self._wait_s)
            self._pause(self._wait_s)

    def _ended_there(self, view: JobView | None) -> NoReturn:
        """The Job is over, and the training said nothing of an end before: why."""
        if view is None:
            told = "The Hub does not know the Job any more."
            hint = "Stop the run: once the Hub confirms that nothing runs, it can begin anew."
            raise self.failed(NotFound(told, hint), is_over=False)
        log = self._machines.log_tail(self._state.namespace, self._state.hub_job)
        take_log(self._hub, self._state, self._folder, log.replace(self._token, "[token]"))
        if view.stage == "CANCELED":
            self.end(RunState.STOPPED, error="The Job was cancelled on the Hub.")
            raise Cancelled("The Job was cancelled on the Hub.")
        raise self.failed(
            _why(view, self._state, log.replace(self._token, "[token]")), is_over=True
        )

    def failed(self, err: StudioError, is_over: bool | None = None) -> StudioError:
        """The run has failed for this reason, unless it has ended before."""
        if not self.is_ended:
            self.end(RunState.FAILED, is_over, error=explained(err, self._token))
        return err

    def end(self, state: RunState, is_over: bool | None = None, **fields: Any) -> None:  # noqa: ANN401
        """Write how it ended; what was begun there and may go on is not over."""
        if is_over is None:
            is_over = state is RunState.STOPPED or not self._state.is_begun
        self._keep(is_over=is_over)
        fields = {"metrics": self._seen | self._meter()} | fields
        self._update(state=state, ended_at=utc_now(), **fields)
        self.is_ended = True

    def _events(self) -> list[Any]:
        return read_events(self._folder / EVENTS_FILE, self._state.begins_at)[0]

    def _meter(self) -> dict[str, Any]:
        if self._state.kind != "job":
            return {"flavor": "another machine"}
        return {
            "flavor": self._state.flavor,
            "paid_minutes": self._state.paid_minutes,
            "usd": round(self._state.usd, 4),
        }

    def _tell(self, error: str) -> None:
        """What is wrong with a run that goes on; '' takes it back."""
        if error != self._told:
            self._update(error=error)
            self._told = error

    def _keep(self, **fields: Any) -> None:  # noqa: ANN401
        self._state = remote_state.change(self._folder, **fields)

    def _update(self, **fields: Any) -> None:  # noqa: ANN401
        table.update(self._db, self._run.name, **fields)


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


def meter_text(state: RemoteRun) -> str:
    """`4 min on a10g-small, $0.07 so far`."""
    return f"{state.paid_minutes} min on {state.flavor}, ${state.usd:.2f} so far"
