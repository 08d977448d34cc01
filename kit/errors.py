"""The one exception hierarchy. An HTTP layer renders these; nothing below it knows about HTTP responses."""

import errno
from collections.abc import Mapping, Sequence


class PenstockError(Exception):
    """Base of every error that a caller may see.

    `status` is the HTTP status that describes it, `code` the machine-readable name, `details` maps a field's path to
    what is wrong with it and what is allowed, `retry_after` is in seconds.
    """

    status = 500
    code = "INTERNAL_ERROR"

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Sequence[str]] | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = {field: list(problems) for field, problems in (details or {}).items()}
        self.retry_after = retry_after
        self.should_retry = should_retry

    def __reduce__(self) -> tuple[object, ...]:
        """Crosses processes with its fields: the default keeps only `args`."""
        return (_rebuild, (type(self), self.message, self.details, self.retry_after, self.should_retry))


def _rebuild(
    kind: type[PenstockError],
    message: str,
    details: Mapping[str, Sequence[str]],
    retry_after: float | None,
    should_retry: bool | None,
) -> PenstockError:
    return kind(message, details=details, retry_after=retry_after, should_retry=should_retry)


class ValidationError(PenstockError):
    """Input that breaks a rule; `details` names the fields."""

    status, code = 400, "VALIDATION_ERROR"


class AuthenticationError(PenstockError):
    """No credentials, or wrong ones."""

    status, code = 401, "AUTHENTICATION_ERROR"


class PermissionDeniedError(PenstockError):
    """The caller is known, and may not do this."""

    status, code = 403, "PERMISSION_DENIED"


class NotFoundError(PenstockError):
    """No such thing, or it belongs to somebody else."""

    status, code = 404, "NOT_FOUND"


class ConflictError(PenstockError):
    """The request contradicts the present state."""

    status, code = 409, "CONFLICT"


class TooLargeError(PenstockError):
    """The body is over the limit."""

    status, code = 413, "TOO_LARGE"


class UnprocessableError(PenstockError):
    """Well-formed input that cannot be processed."""

    status, code = 422, "UNPROCESSABLE"


class RateLimitError(PenstockError):
    """Too many requests; `retry_after` says when to come back."""

    status, code = 429, "RATE_LIMITED"


class UnavailableError(PenstockError):
    """Something this request needs cannot be reached now; `retry_after` says when to try again."""

    status, code = 503, "UNAVAILABLE"


class UpstreamError(PenstockError):
    """A provider answered wrongly or not at all."""

    status, code = 502, "UPSTREAM_ERROR"


class DeadlineError(PenstockError):
    """The time for this request is over."""

    status, code = 504, "DEADLINE_EXCEEDED"


class UpstreamRefusedError(PenstockError):
    """An upstream server refused the request for a reason the caller can act on; its own 4xx status is kept."""

    code = "UPSTREAM_REFUSED"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, should_retry=False)
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_refused, (self.message, self.status))


def _rebuild_refused(message: str, status: int) -> UpstreamRefusedError:
    return UpstreamRefusedError(message, status=status)


class SetupError(PenstockError):
    """The operator must change something before the program can run; `remedy` says what. Exit code 2."""

    code = "SETUP_ERROR"

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        return (SetupError, (self.message,))


def full_disk(error: OSError) -> SetupError | None:
    """What to tell an operator whose disk or quota is full; None for any other error."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    where = f" ({error.filename})" if error.filename else ""
    return SetupError(f"The disk is full{where}.", "Make room, or set PENSTOCK_HOME to a folder on a larger disk.")
