"""Reject reasons on the digit keys of the review bench."""

from collections.abc import Sequence

MAX_REASONS = 9  # one digit key each
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


def offered(used: Sequence[str]) -> list[str]:
    """The reasons to offer, at most nine: the standard ones, then those given before.

    Args:
        used: Reasons that occur in the store, most frequent first. Those that are not standard
            take the last places, three at most, so that the digits of the others stay put.
    """
    own = [reason for reason in used if reason not in DEFAULT_REASONS and len(reason) <= 60][:3]
    return [*DEFAULT_REASONS[: MAX_REASONS - len(own)], *own]
