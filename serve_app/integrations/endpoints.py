"""GET, POST /api/integrations; GET, PUT, DELETE /api/integrations/{id}; POST /api/integrations/{id}/test."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serve_app.auth.schemas import Principal
from serve_app.http.bodies import read_model
from serve_app.http.context import context_of
from serve_app.http.responses import model_response
from serve_app.http.routes import new_router, path_parameter, request_body
from serve_app.integrations.schemas import Integration, IntegrationList, IntegrationUpdate, NewIntegration
from serve_app.integrations.service import IntegrationService

_ID = path_parameter("id", "Id of an integration.")


def integrations_router(service: IntegrationService) -> APIRouter:
    """The endpoints over a service."""
    router = new_router()

    @router.get("/api/integrations", tags=["integrations"], response_model=IntegrationList)
    async def integrations(request: Request) -> Response:
        """The tenant's integrations; for those who are no administrators their own."""
        return model_response(IntegrationList(integrations=await service.list(_caller(request))))

    @router.post(
        "/api/integrations",
        tags=["integrations"],
        status_code=201,
        response_model=Integration,
        openapi_extra=request_body(NewIntegration),
    )
    async def add(request: Request) -> Response:
        """Store a key for a provider. It is tried first; a refused one is not stored."""
        caller = _caller(request)
        return model_response(await service.add(caller, await read_model(request, NewIntegration)), status=201)

    @router.get("/api/integrations/{id}", tags=["integrations"], response_model=Integration, openapi_extra=_ID)
    async def integration(request: Request) -> Response:
        """One integration, without its key."""
        return model_response(await service.get(_caller(request), request.path_params["id"]))

    @router.put(
        "/api/integrations/{id}",
        tags=["integrations"],
        response_model=Integration,
        openapi_extra=_ID | request_body(IntegrationUpdate),
    )
    async def replace(request: Request) -> Response:
        """Change key, base URL and configuration. A key that is left out stays."""
        caller, id = _caller(request), request.path_params["id"]
        return model_response(await service.replace(caller, id, await read_model(request, IntegrationUpdate)))

    @router.delete("/api/integrations/{id}", tags=["integrations"], status_code=204, openapi_extra=_ID)
    async def delete(request: Request) -> Response:
        """Delete an integration."""
        await service.delete(_caller(request), request.path_params["id"])
        return Response(status_code=204)

    @router.post("/api/integrations/{id}/test", tags=["integrations"], response_model=Integration, openapi_extra=_ID)
    async def test(request: Request) -> Response:
        """Try the stored key again."""
        return model_response(await service.test(_caller(request), request.path_params["id"]))

    return router


def _caller(request: Request) -> Principal:
    context = context_of(request)
    context.operation = "integrations"
    return context.caller
