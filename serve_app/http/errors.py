"""Renders every failure in the error shape of the endpoint's family."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from kit.errors import NotFoundError, PenstockError, RateLimitError, UnavailableError, ValidationError

Family = Literal["platform", "openai", "anthropic"]

_OPENAI = ("/v1/chat/", "/v1/models", "/v1/embeddings", "/v1/responses", "/v1/completions")
_ANTHROPIC = "/v1/messages"
_BOTH = "/v1/models"
_PLATFORM = "/v1/models/available"
ANTHROPIC_VERSION = b"anthropic-version"
"""The header that every client of Anthropic's API sends."""

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_OPENAI_CODES = {"AUTHENTICATION_ERROR": "invalid_api_key", "RATE_LIMITED": "rate_limit_exceeded"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_CONTEXT_LENGTH = "context_length_exceeded"
_TOO_LONG = "prompt is too long"
_HTTP_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE"}


class RequestError(PenstockError):
    """A failure of HTTP itself: no such path, a method that a path lacks, a body of another type."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = _HTTP_CODES.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")
        self.headers = dict(headers or {})


def family_of(scope: Scope) -> Family:
    """Whose shape a request's answers have. The list of models is asked for by clients of both APIs."""
    path: str = scope["path"]
    if path.startswith(_ANTHROPIC):
        return "anthropic"
    if not path.startswith(_OPENAI) or path.startswith(_PLATFORM):
        return "platform"
    if path.startswith(_BOTH) and any(name == ANTHROPIC_VERSION for name, _ in scope["headers"]):
        return "anthropic"
    return "openai"


def as_penstock(error: Exception) -> PenstockError:
    """What the client may know of any exception; an unexpected one is only an internal error."""
    if isinstance(error, PenstockError):
        return error
    if isinstance(error, RequestValidationError):
        return invalid(error.errors())
    if isinstance(error, HTTPException):
        return RequestError(error.status_code, str(error.detail), error.headers)
    if isinstance(error, TimeoutError):
        return UnavailableError("A part of the platform did not answer in time.", retry_after=1)
    return PenstockError("Something went wrong on our side. The request id leads to the log entry.")


def invalid(problems: Sequence[Any]) -> ValidationError:
    """Pydantic's problems as a ValidationError whose details name each field's path."""
    details: dict[str, list[str]] = {}
    for problem in problems:
        parts = [part for part in problem["loc"] if part != "body"]
        message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
        details.setdefault(field_path(parts), []).append(message[:1].lower() + message[1:])
    return bad_fields(details)


def bad_fields(details: Mapping[str, Sequence[str]]) -> ValidationError:
    """A ValidationError whose message says what its details say."""
    sentences = [f"{field}: {'; '.join(problems)}" for field, problems in details.items()]
    return ValidationError("The request is not valid. " + ". ".join(sentences) + ".", details=details)


def bad_field(field: str, problem: str) -> ValidationError:
    """A ValidationError about one field."""
    return bad_fields({field: [problem]})


def field_path(parts: Sequence[Any]) -> str:
    """`("messages", 0, "role")` as `messages[0].role`; nothing as `body`."""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or "body"


def payload(error: PenstockError, request_id: str, family: Family) -> dict[str, Any]:
    """The JSON of an error in the family's shape."""
    if family == "openai":
        stated = {"message": error.message, "type": _openai_type(error), "param": next(iter(error.details), None)}
        return {"error": {**stated, "code": _openai_code(error)}}
    if family == "anthropic":
        stated = {"type": _anthropic_type(error), "message": _anthropic_message(error)}
        return {"type": "error", "error": stated, "request_id": request_id}
    return {"error": {"code": error.code, "message": error.message, "details": error.details, "request_id": request_id}}


def render(error: PenstockError, request_id: str, family: Family) -> Response:
    """The HTTP response of an error."""
    headers = dict(error.headers) if isinstance(error, RequestError) else {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    elif error.status in (429, 503):
        headers["retry-after"] = "1"
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    body = orjson.dumps(payload(error, request_id, family))
    return Response(body, status_code=error.status, headers=headers, media_type="application/json")


def _openai_type(error: PenstockError) -> str:
    if error.status >= 500:
        return "server_error"
    if _is_spent(error):
        return "insufficient_quota"
    return _OPENAI_TYPES.get(error.status, "invalid_request_error")


def _openai_code(error: PenstockError) -> str:
    if isinstance(error, NotFoundError) and "model" in error.details:
        return "model_not_found"
    if _is_spent(error):
        return "insufficient_quota"
    return _OPENAI_CODES.get(error.code, error.code.lower())


def _is_spent(error: PenstockError) -> bool:
    """Whether waiting does not help: a budget is spent."""
    return isinstance(error, RateLimitError) and error.should_retry is False


def _anthropic_type(error: PenstockError) -> str:
    known = _ANTHROPIC_TYPES.get(error.status)
    return known or ("api_error" if error.status >= 500 else "invalid_request_error")


def _anthropic_message(error: PenstockError) -> str:
    # Clients know this error by the beginning of its message.
    if error.code == _CONTEXT_LENGTH and not error.message.startswith(_TOO_LONG):
        return f"{_TOO_LONG}: {error.message}"
    return error.message
