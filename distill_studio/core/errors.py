"""The errors a user may see.

Raise a subclass of `StudioError` with a message that says what happened (which row, which field)
and a hint that says what to do. Each also inherits the standard type it refines.
"""


class StudioError(Exception):
    """An expected failure, told in the user's words.

    Args:
        user_message: What happened, naming the row, field, file or server.
        hint: What the user can do about it; may be empty.
    """

    code = "error"
    http_status = 400

    def __init__(self, user_message: str, hint: str = "") -> None:
        super().__init__(user_message, hint)  # both, so that it pickles
        self.user_message = user_message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.user_message} {self.hint}".strip()


class InvalidInput(StudioError, ValueError):
    """A value, file or row that cannot be used as it is."""

    code = "invalid_input"


class NotFound(StudioError, LookupError):
    """A workspace, row, file or model that is not there."""

    code = "not_found"
    http_status = 404


class NotAllowed(StudioError, PermissionError):
    """The acting user lacks the role for this."""

    code = "not_allowed"
    http_status = 403


class Conflict(StudioError):
    """The thing exists already, is in use, or changed underneath."""

    code = "conflict"
    http_status = 409


class Cancelled(StudioError):
    """A person stopped this job."""

    code = "cancelled"
    http_status = 409


class Unavailable(StudioError, RuntimeError):
    """Something this needs is missing on this machine (a package, a device, disk)."""

    code = "unavailable"
    http_status = 503


class TeacherError(StudioError, RuntimeError):
    """A teacher could not answer. `code` says how; `is_retryable` whether to try again."""

    code = "teacher_error"
    http_status = 502
    is_retryable = False


class TeacherUnreachable(TeacherError, ConnectionError):
    """No connection, refused, DNS failure or time-out."""

    code = "unreachable"
    is_retryable = True


class TeacherAddressRefused(TeacherError, PermissionError):
    """Its URL leads to a private or local address, which is not reached from here."""

    code = "address_refused"
    http_status = 403


class TeacherUnauthorised(TeacherError):
    """401 or 403: the key is missing or wrong."""

    code = "unauthorised"


class TeacherUnknownModel(TeacherError):
    """The server does not serve this model."""

    code = "unknown_model"


class TeacherContextTooLong(TeacherError):
    """Prompt plus answer do not fit the model's context."""

    code = "context_too_long"


class TeacherRateLimited(TeacherError):
    """429: asked to slow down. `retry_after_s` is the server's wish, when it said one."""

    code = "rate_limited"
    is_retryable = True

    def __init__(
        self, user_message: str, hint: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(user_message, hint)
        self.retry_after_s = retry_after_s


class TeacherMalformedReply(TeacherError):
    """The server answered with something that is not a chat completion."""

    code = "malformed_reply"
    is_retryable = True


class TeacherSpendLimit(TeacherError):
    """What one job may cost is spent; nothing more is asked."""

    code = "spend_limit"
