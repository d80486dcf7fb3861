"""Hugging Face Jobs: what machines there are, start one, look at it, cancel it, read its log.

Start at `HubJobs.flavors`. A Job is found again by its label, so that a start whose answer was lost
is never paid for twice. Its secrets go in the field of that name alone.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx2
from huggingface_hub import JobInfo, JobStage
from huggingface_hub.errors import HfHubHTTPError
from pydantic import Field

from distill_studio.core.errors import NotAllowed, NotFound, StudioError, Unavailable
from distill_studio.core.records import Record
from distill_studio.hub.client import ATTEMPTS, HubClient
from distill_studio.hub.failures import TOKENS_PAGE, http_error

LABEL = "distill-studio"
OVER = (JobStage.COMPLETED, JobStage.CANCELED, JobStage.ERROR, JobStage.DELETED)
BILLING_PAGE = "https://huggingface.co/settings/billing"
JOBS_PAGE = "https://huggingface.co/settings/jobs"
_MINUTES = {"second": 1 / 60, "minute": 1.0, "hour": 60.0}  # that one unit of a price lasts
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_LOG_CHARACTERS = 20_000
T = TypeVar("T")


class Flavor(Record):
    """A kind of machine that can be rented by the minute."""

    name: str = Field(max_length=100, description="As the Hub calls it, such as a10g-small.")
    label: str = Field(max_length=200, description="In words.")
    cpus: int = Field(ge=0, description="Virtual cores; 0 = not said.")
    memory_gb: float = Field(ge=0.0, description="Main memory, 10^9 bytes; 0 = not said.")
    disk_gb: float = Field(default=0.0, ge=0.0, description="Of its own; 0 = not said.")
    gpu: str = Field(default="", max_length=100, description="Model of the GPU; '' = none.")
    gpus: int = Field(default=0, ge=0, description="How many.")
    gpu_memory_gb: float = Field(default=0.0, ge=0.0, description="Of one GPU.")
    usd_per_minute: float = Field(ge=0.0, description="Price; each begun minute is paid.")


@dataclass(frozen=True)
class JobOrder:
    """What is to run.

    Attributes:
        namespace: Who pays: a user or an organisation.
        label: Unique for this start; what has it already is taken instead of a new one.
        image: Docker image.
        command: Argument list; no secret is in it.
        flavor: Name of the machine.
        timeout_s: After which the Hub ends it.
        secrets: Variables that the Hub keeps encrypted.
        environment: Other variables, which anybody sees who sees the Job.
    """

    namespace: str
    label: str
    image: str
    command: list[str]
    flavor: str
    timeout_s: int
    secrets: Mapping[str, str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class JobView:
    """How a Job stands.

    Attributes:
        id: Of the Job.
        stage: SCHEDULING, RUNNING, COMPLETED, CANCELED, ERROR, DELETED, or one we do not know.
        message: What the Hub says of it; '' for nothing. Untrusted.
        running_s: Seconds it has run; None where the Hub does not say.
        url: Its page.
    """

    id: str
    stage: str
    message: str
    running_s: float | None
    url: str

    @property
    def is_over(self) -> bool:
        """True when it will not run any more."""
        return self.stage in {one.value for one in OVER}


class HubJobs(HubClient):
    """Jobs of the token's owner and organisations."""

    def flavors(self) -> list[Flavor]:
        """Machines with their prices, the cheapest first.

        Raises:
            NotAllowed: The Hub does not know the token.
            Unavailable: No way to the Hub, also after waiting.
        """
        found = self._asked("the list of machines", lambda: self._api.list_jobs_hardware())
        made = []
        for one in found:
            minutes = _MINUTES.get(one.unit_label)
            if minutes is None:  # a price that cannot be told by the minute is not shown at all
                continue
            gpu = one.accelerator
            gpus = int(_first_number(gpu.quantity) or 1) if gpu else 0
            made.append(
                Flavor(
                    name=one.name,
                    label=one.pretty_name,
                    cpus=int(_first_number(one.cpu)),
                    memory_gb=_first_number(one.ram),
                    disk_gb=_disk_gb(one.ephemeral_storage),
                    gpu=gpu.model if gpu else "",
                    gpus=gpus,
                    gpu_memory_gb=_first_number(gpu.vram) / max(gpus, 1) if gpu else 0.0,
                    usd_per_minute=one.unit_cost_micro_usd / 1e6 / minutes,
                )
            )
        return sorted(made, key=lambda one: one.usd_per_minute)

    def start(self, order: JobOrder, attempts: int = ATTEMPTS) -> JobView:
        """Start a Job, or find the one that was started for the same label.

        Raises:
            NotAllowed: The token may not, or nobody pays.
            Unavailable: No way to the Hub, also after waiting.
        """

        def ask() -> JobView:
            found = self._labelled(order.namespace, order.label)
            return found[0] if found else self._posted(order)

        return self._asked(f"a Job on {order.flavor}", ask, attempts)

    def labelled(self, namespace: str, label: str) -> list[JobView]:
        """The Jobs that were started for a label, those that may still run first; one try."""
        what = f"the Jobs of {namespace}"
        return self._asked(what, lambda: self._labelled(namespace, label), attempts=1)

    def look(self, namespace: str, job_id: str) -> JobView:
        """How a Job stands now; one try.

        Raises:
            NotFound: There is none.
        """
        return self._asked(
            f"the Job {job_id}",
            lambda: _view(self._api.inspect_job(job_id=job_id, namespace=namespace)),
            attempts=1,
        )

    def cancel(self, namespace: str, job_id: str) -> None:
        """Ask the Hub to end a Job; one that has ended stays as it is.

        That it took the request does not say that the Job has ended: `look` does.
        """

        def ask() -> None:
            try:
                self._api.cancel_job(job_id=job_id, namespace=namespace)
            except HfHubHTTPError as err:
                if err.response.status_code not in (400, 409):  # it has ended, perhaps
                    raise

        self._asked(f"the Job {job_id}", ask)

    def log_tail(self, namespace: str, job_id: str, lines: int = 60) -> str:
        """The last lines of what a Job printed: plain text of at most 20,000 characters.

        '' where the Hub does not show it: it explains an end, and must not hide it.
        """
        try:
            found = list(
                self._api.fetch_job_logs(
                    job_id=job_id, namespace=namespace, follow=False, tail=lines
                )
            )
        except (httpx2.HTTPError, OSError, ValueError, RuntimeError, KeyError, TypeError):
            return ""
        return plain("\n".join(str(line).rstrip() for line in found[-lines:]))

    def _labelled(self, namespace: str, label: str) -> list[JobView]:
        found = self._api.list_jobs(labels={LABEL: label}, namespace=namespace)
        same = [_view(one) for one in found if (one.labels or {}).get(LABEL) == label]
        return sorted(same, key=lambda one: one.is_over)

    def _posted(self, order: JobOrder) -> JobView:
        made = self._api.run_job(
            image=order.image,
            command=order.command,
            env=dict(order.environment),
            secrets=dict(order.secrets),
            flavor=order.flavor,
            timeout=order.timeout_s,
            labels={LABEL: order.label},
            namespace=order.namespace,
        )
        return _view(made)

    def _asked(self, what: str, call: Callable[[], T], attempts: int = ATTEMPTS) -> T:
        def told() -> T:
            try:
                return call()
            except HfHubHTTPError as err:
                if (refused := _refused(err, what)) is not None:
                    raise refused from None  # what is behind it may quote headers
                raise
            except (ValueError, KeyError, TypeError) as err:
                raise Unavailable(
                    f"The Hub's answer about {what} was not understood: {plain(str(err), 200)}",
                    "Look at your Jobs on the Hub before you start another.",
                ) from err

        return self._safely(what, told, attempts)


def plain(text: str, most: int = _LOG_CHARACTERS) -> str:
    """The end of a foreign text without control characters, line breaks and tabs apart."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))[-most:]


def _view(info: JobInfo) -> JobView:
    stage = info.status.stage
    running = info.durations.running_secs if info.durations else None
    return JobView(
        id=str(info.id)[:200],
        stage=str(getattr(stage, "value", stage)),
        message=plain(info.status.message or "", 1000),
        running_s=None if running is None else float(running),
        url=info.url,
    )


def _first_number(text: str) -> float:
    """`24 GB` -> 24; 0 where there is none."""
    found = _NUMBER.search(str(text))
    return float(found[0]) if found else 0.0


def _disk_gb(text: str) -> float:
    """`50 GB` or `1 TB`, as JobHardwareInfo has it."""
    return _first_number(text) * (1000 if "TB" in str(text).upper() else 1)


def _refused(err: HfHubHTTPError, what: str) -> StudioError | None:
    """What a refusal means for Jobs; None where it means what it always means."""
    answer = http_error(err)
    status = answer.response.status_code if answer is not None else 0
    said = f" ({plain(err.server_message, 300)})" if err.server_message else ""
    if status == 402:
        return NotAllowed(
            f"The Hub wants credit before it runs Jobs.{said}", f"Add some at {BILLING_PAGE}."
        )
    if status == 403:
        return NotAllowed(
            f"This token may not run Jobs.{said}",
            f"Give one that may write, or a fine-grained one that may start and manage Jobs"
            f" ({TOKENS_PAGE}).",
        )
    if status == 404:
        return NotFound(f"The Hub does not know {what}.{said}")
    return None
