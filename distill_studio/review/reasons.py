"""Reject reasons on the digit keys of the review bench."""

from collections.abc import Sequence

from distill_studio.core.errors import InvalidInput

MAX_REASONS = 9  # one digit key each
MAX_LENGTH = 120  # characters of one
DEFAULT_REASONS = (
    "Wrong or made up",
    "Does not do what was asked",
    "Incomplete or cut off",
    "Refuses without need",
    "Repeats itself",
    "Badly written or formatted",
    "Wrong language",
    "Unsafe or private",
    "Too long for what it says",
)


def offered(used: Sequence[str], chosen: Sequence[str] = ()) -> list[str]:
    """The reasons to offer, at most nine: the chosen ones, else standard and used ones.

    Args:
        used: Reasons that occur in the store, most frequent first. Those that are not standard
            take the last places, three at most, so that the digits of the others stay put.
        chosen: What somebody set for this workspace; then only these.
    """
    if chosen:
        return list(chosen)
    own = [reason for reason in used if reason not in DEFAULT_REASONS and len(reason) <= 60][:3]
    return [*DEFAULT_REASONS[: MAX_REASONS - len(own)], *own]


def checked(reasons: Sequence[str]) -> list[str]:
    """Reasons as they may be set: trimmed, empty lines left out.

    Raises:
        InvalidInput: Too many, too long, or one twice.
    """
    found = [reason.strip() for reason in reasons if reason.strip()]
    if len(found) > MAX_REASONS:
        raise InvalidInput(
            f"{len(found)} reasons are too many for the digit keys.", f"Keep {MAX_REASONS} of them."
        )
    for number, reason in enumerate(found, 1):
        if len(reason) > MAX_LENGTH:
            raise InvalidInput(
                f"Reason {number} has {len(reason)} characters.", f"Use at most {MAX_LENGTH}."
            )
        if reason in found[: number - 1]:
            raise InvalidInput(f"Reason {number} is there twice: {reason}.", "Remove one of them.")
    return found
