"""The Hub with one token: asks again where a failure may pass, and tells failures in words.

`HubRepository` pushes, `RunRepository` carries a run to another machine, `HubJobs` rents one.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, constants, set_client_factory
from huggingface_hub.utils._http import default_client_factory
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from distill_studio import __version__
from distill_studio.core.progress import CancelToken, Progress, no_progress
from distill_studio.hub.failures import is_passing, retry_after_s, told

PUBLIC_HUB = "https://huggingface.co"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
ATTEMPTS = 5
CONNECT_S, READ_S = 10.0, 60.0
_LONGEST_WAIT_S = 300.0
T = TypeVar("T")


def _patient_client() -> httpx2.Client:
    """The library's own client, but for its waiting without end for a line that went dead."""
    client = default_client_factory()
    client.timeout = httpx2.Timeout(READ_S, connect=CONNECT_S)
    return client


set_client_factory(_patient_client)  # once, here: it closes the session that others may be using


@dataclass(frozen=True)
class Account:
    """Whose token it is.

    Attributes:
        user: Its name on the Hub.
        orgs: Organisations that it is in.
        role: read, write, fineGrained; empty where the Hub does not say.
    """

    user: str
    orgs: tuple[str, ...] = ()
    role: str = ""


def endpoint() -> str:
    """Where the Hub is: `HF_ENDPOINT`, else huggingface.co."""
    return (os.environ.get(ENDPOINT_VARIABLE) or constants.ENDPOINT).rstrip("/")


class HubClient:
    """What all that talk to the Hub share.

    Args:
        token: Of a user; kept in memory, and in no message.
        cancel: Stops the work between its steps.
        progress: Told how many bytes of how many are there.
    """

    def __init__(
        self, token: str, cancel: CancelToken | None = None, progress: Progress = no_progress
    ) -> None:
        self._cancel = cancel or CancelToken()
        self._progress = progress
        self._at: tuple[int, int | None] = (0, None)
        self._endpoint = endpoint()
        self._token = token
        self._api = HfApi(
            endpoint=self._endpoint,
            token=token,
            library_name="distill-studio",
            library_version=__version__,
        )

    def account(self, attempts: int = ATTEMPTS) -> Account:
        """Whose token it is.

        Raises:
            NotAllowed: The Hub does not know the token.
            Unavailable: The Hub cannot be reached.
        """
        found = self._safely("your account", lambda: self._api.whoami(), attempts)
        access = found.get("auth", {}).get("accessToken", {})
        orgs = tuple(str(one["name"]) for one in found.get("orgs", []))
        return Account(str(found["name"]), orgs, str(access.get("role", "")))

    # -- again, and in words --------------------------------------------------------------

    def _safely(self, about: str, call: Callable[[], T], attempts: int = ATTEMPTS) -> T:
        """The result, or the failure in words."""
        try:
            return self._again(call, attempts)
        except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as err:
            raise told(err, about, self._endpoint) from None  # what is behind it may quote headers

    def _again(self, call: Callable[[], T], attempts: int = ATTEMPTS) -> T:
        """The result, asked for again where a failure may pass."""
        again = Retrying(
            retry=retry_if_exception(is_passing),
            stop=stop_after_attempt(attempts),
            wait=lambda state: _wait_s(state),
            sleep=self._sleep,
            before_sleep=self._say,
            reraise=True,
        )
        return again(call)

    def _sleep(self, seconds: float) -> None:
        self._cancel.wait(seconds)
        self._cancel.raise_if_cancelled()

    def _tell(self, done: int, total: int | None, note: str) -> None:
        self._at = (done, total)
        self._progress(done, total, note)

    def _say(self, state: RetryCallState) -> None:
        wait = state.next_action.sleep if state.next_action else 0.0
        self._tell(*self._at, f"the Hub did not answer well; trying again in {wait:.0f} s")


def _wait_s(state: RetryCallState) -> float:
    """1, 2, 4, 8 s, or as long as the Hub asks."""
    err = state.outcome.exception() if state.outcome else None
    asked = retry_after_s(err) if err else 0.0
    return min(_LONGEST_WAIT_S, max(asked, 2.0 ** (state.attempt_number - 1)))
