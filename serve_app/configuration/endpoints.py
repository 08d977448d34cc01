"""GET, PUT /api/config."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serve_app.auth.schemas import Principal
from serve_app.configuration.schemas import Config, ConfigUpdate
from serve_app.configuration.service import ConfigService
from serve_app.http.bodies import read_model
from serve_app.http.context import context_of
from serve_app.http.responses import model_response
from serve_app.http.routes import new_router, request_body


def configuration_router(service: ConfigService) -> APIRouter:
    """The endpoints over a service."""
    router = new_router()

    @router.get("/api/config", tags=["configuration"], response_model=Config)
    async def config(request: Request) -> Response:
        """Each effective value and where it comes from."""
        return model_response(await service.get(_caller(request)))

    @router.put("/api/config", tags=["configuration"], response_model=Config, openapi_extra=request_body(ConfigUpdate))
    async def change(request: Request) -> Response:
        """Set some of the tenant's own values; null takes one back to the platform's default."""
        return model_response(await service.change(_caller(request), await read_model(request, ConfigUpdate)))

    return router


def _caller(request: Request) -> Principal:
    context = context_of(request)
    context.operation = "config"
    return context.caller
