"""Reads request bodies, bounded, as JSON objects and validated models; query strings too."""

from typing import Any, TypeVar

import orjson
import pydantic
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope

from kit.errors import TooLargeError, ValidationError
from serve_app.http.errors import RequestError, invalid

T = TypeVar("T", bound=pydantic.BaseModel)

MAX_DEPTH = 200
"""Levels of arrays and objects; a provider's request has fewer than ten beside a JSON schema."""


def refuse_declared_size(scope: Scope, limit: int) -> None:
    """Raise TooLargeError when the request says that its body is over the limit."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)


def bounded(receive: Receive, limit: int) -> Receive:
    """Count the body as it comes, for those that do not say how long they are."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            if size > limit:
                raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The request body is over the limit of {limit} bytes.", should_retry=False)


async def read_body(receive: Receive) -> bytes:
    """The whole body. Raises ClientDisconnect when the client leaves before it is complete."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if not message.get("more_body", False) and not parts:
            return message.get("body", b"")  # type: ignore[no-any-return]
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object. Raises ValidationError."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = f"must be valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise ValidationError(f"The request body {problem}.", details={"body": [problem]}) from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _refuse_depth(value)
    if not isinstance(value, dict):
        raise ValidationError(
            "The request body must be a JSON object.", details={"body": [f"must be an object, not {kind_of(value)}"]}
        )
    return value


def _refuse_depth(value: Any) -> None:
    """orjson reads deeper structures than it writes: what cannot be passed on is refused here."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        problem = f"must not be nested deeper than {MAX_DEPTH} levels"
        raise ValidationError(f"The request body {problem}.", details={"body": [problem]}) from None


def kind_of(value: object) -> str:
    """JSON's name of a value's type, for people."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"


async def read_json(request: Request) -> bytes:
    """The whole body of an endpoint that takes JSON. Raises RequestError (415) when it says to be something else."""
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            _refuse_other_type(value)
    return await read_body(request.receive)


def _refuse_other_type(value: bytes) -> None:
    kind = value.partition(b";")[0].strip().lower()
    if kind and kind != b"application/json" and not kind.endswith(b"+json"):
        shown = kind[:100].decode("latin-1")
        raise RequestError(415, f"The content type must be application/json, not {shown}.")


async def read_model(request: Request, model: type[T]) -> T:
    """Read a request body as a validated model. Raises ValidationError that names each wrong field."""
    return _validated(json_object(await read_json(request)), model)


def read_query(request: Request, model: type[T]) -> T:
    """The query string as a validated model. Raises ValidationError that names each wrong parameter."""
    return _validated(dict(request.query_params), model)


def _validated(value: dict[str, Any], model: type[T]) -> T:
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False)) from None
