"""Routes whose endpoints take a request and return a response, and what the OpenAPI document says of them."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class DirectRoute(APIRoute):
    """Calls its endpoint without FastAPI's parsing and exit stacks: a request is validated where it is acted on, and
    the gateway renders errors. FastAPI describes the route in the OpenAPI document as any other."""

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(path, endpoint, **options)

        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

        self.app = call


def new_router() -> APIRouter:
    """A router of direct routes."""
    return APIRouter(route_class=DirectRoute)


def path_parameter(name: str, description: str) -> dict[str, Any]:
    """The OpenAPI entry of a parameter in the path."""
    schema = {"type": "string"}
    return {
        "parameters": [{"name": name, "in": "path", "required": True, "description": description, "schema": schema}]
    }


def request_body(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entry of a JSON body with a model's schema, references resolved."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _inlined(schema, definitions)}}}
    }


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if reference is not None:
        return _inlined(definitions[reference.rpartition("/")[2]], definitions)
    return {name: _inlined(value, definitions) for name, value in schema.items()}
