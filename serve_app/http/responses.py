"""Responses of JSON, and header values that survive any text."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON of a plain value."""
    return Response(orjson.dumps(value), status_code=status, headers=headers, media_type="application/json")


def model_response(model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON of a model; fields that are None by default stay in."""
    body = orjson.dumps(model.model_dump(mode="json"))
    return Response(body, status_code=status, headers=headers, media_type="application/json")


@lru_cache(1024)
def header_text(value: str) -> str:
    """A value that HTTP carries: printable ASCII on one line, at most 300 characters."""
    return "".join(c if " " <= c <= "~" else "?" if c > "~" else " " for c in value[:300]).strip()
