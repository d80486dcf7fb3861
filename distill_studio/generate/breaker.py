"""When to stop asking a teacher: ten thousand refusals teach no more than five."""

from distill_studio.core.errors import TeacherError
from distill_studio.core.protocols import ChatReply

# No other request will fare better: a key or name that is wrong, a model that cannot be loaded.
_FATAL = {
    "unauthorised",
    "unknown_model",
    "not_found",
    "unavailable",
    "spend_limit",
    "address_refused",
}
_OF_THE_ROW = {"context_too_long"}  # says nothing about the next request
_FAILURES_IN_A_ROW = 5


class Breaker:
    """Opens when asking further is pointless.

    Args:
        in_flight: Requests at a time; so many may fail together before it opens.
    """

    def __init__(self, in_flight: int) -> None:
        self._limit = max(_FAILURES_IN_A_ROW, in_flight)
        self._in_a_row = 0
        self._reason = ""

    @property
    def is_open(self) -> bool:
        """True once the teacher should not be asked any more."""
        return bool(self._reason)

    def note(self, reply: ChatReply) -> None:
        """Learn from a reply."""
        if reply.is_ok:
            self._in_a_row = 0
        elif reply.error_code not in _OF_THE_ROW:
            self._in_a_row += 1
            if reply.error_code in _FATAL or self._in_a_row >= self._limit:
                self._reason = self._reason or reply.error

    def raise_if_open(self) -> None:
        """Raise TeacherError with the reason."""
        if self._reason:
            raise TeacherError(
                f"Stopped: {self._reason}", "What was answered is stored; resume asks the rest."
            )
