"""What the Hub answered, in a user's words. Never holds a token."""

import httpx2
from huggingface_hub.errors import (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from distill_studio.core.errors import (
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    StudioError,
    Unavailable,
)

PASSING = (408, 429, 500, 502, 503, 504)
TOKENS_PAGE = "https://huggingface.co/settings/tokens"


def causes(err: BaseException) -> list[BaseException]:
    """An error and those behind it, the outermost first."""
    found: list[BaseException] = []
    while err is not None and err not in found:
        found.append(err)
        nested = err.__cause__ or err.__context__
        if nested is None:
            break
        err = nested
    return found


def http_error(err: BaseException) -> HfHubHTTPError | None:
    """The Hub's answer behind an error."""
    return next((one for one in causes(err) if isinstance(one, HfHubHTTPError)), None)


def is_passing(err: BaseException) -> bool:
    """Whether it may go well a moment later: no connection, too many requests, a server's error."""
    if any(isinstance(one, OfflineModeIsEnabled) for one in causes(err)):
        return False
    if (answer := http_error(err)) is not None:
        status = answer.response.status_code
        return status in PASSING or (status == 403 and _is_from_storage(answer))
    return any(isinstance(one, httpx2.TransportError) for one in causes(err))


def _is_from_storage(err: HfHubHTTPError) -> bool:
    """Whether the store of large files answered: asked by a signed address, which may expire."""
    return "authorization" not in err.response.request.headers


def retry_after_s(err: BaseException) -> float:
    """How long the Hub asked to wait, in seconds; 0 where it did not say."""
    answer = http_error(err)
    said = answer.response.headers.get("Retry-After", "") if answer is not None else ""
    return float(said) if said.strip().isdigit() else 0.0


def told(err: BaseException, repo_id: str, endpoint: str) -> StudioError:
    """The failure of something with the repository `repo_id` at `endpoint`."""
    if isinstance(err, StudioError):
        return err
    if any(isinstance(one, OfflineModeIsEnabled) for one in causes(err)):
        return Unavailable(
            "The Hub is not asked: HF_HUB_OFFLINE is set.",
            "Start the app without it, then resume.",
        )
    answer = http_error(err)
    if answer is not None:
        return _refused(answer, repo_id)
    if any(isinstance(one, httpx2.TransportError) for one in causes(err)):
        return Unavailable(
            f"The Hub at {endpoint} cannot be reached.",
            "Check the network, then resume: what is there already is not sent again.",
        )
    if isinstance(err, ValueError) and "README.md" in str(err):
        return InvalidInput(f"The Hub refuses the card of {repo_id}: {_first_lines(err)}")
    return Unavailable(f"The push to {repo_id} failed: {_first_lines(err)}", "Resume to try again.")


def _refused(err: HfHubHTTPError, repo_id: str) -> StudioError:
    status = err.response.status_code
    if isinstance(err, RepositoryNotFoundError):
        return NotFound(
            f"The repository {repo_id} is not there: it was deleted, or this token cannot see it.",
            "Resume to make it anew, or push under another name.",
        )
    said = f" ({err.server_message})" if err.server_message else ""
    if status == 401:
        return NotAllowed(
            "The Hub does not know this token.",
            f"It may have been revoked. Make another at {TOKENS_PAGE} and give it here.",
        )
    if status == 403 and _is_from_storage(err):
        return Unavailable("The Hub's storage refused a file (403).", "Resume to try again.")
    if status == 403:
        return NotAllowed(
            f"This token may not write to {repo_id}.{said}",
            f"Give one with write access ({TOKENS_PAGE}), or push to a name of your own.",
        )
    if status == 402:
        return NotAllowed(f"The Hub asks for payment for {repo_id}.{said}")
    if status == 412:
        return Conflict(
            f"{repo_id} was changed by somebody else meanwhile.", "Look at it, then push again."
        )
    if status == 409:
        return Conflict(f"The Hub found a conflict at {repo_id}.{said}")
    if status == 429:
        return Unavailable(
            "The Hub asks to slow down (429), and still did after waiting.",
            "Wait some minutes, then resume: what is there already is not sent again.",
        )
    if status >= 500:
        return Unavailable(
            f"The Hub failed (status {status}), again and again.",
            "Wait some minutes, then resume: what is there already is not sent again.",
        )
    return InvalidInput(f"The Hub refused it for {repo_id} (status {status}).{said}")


def _first_lines(err: BaseException) -> str:
    return " ".join(str(err).split())[:300] or type(err).__name__
