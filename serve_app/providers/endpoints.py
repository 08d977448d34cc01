"""GET /v1/models, /v1/models/{id}, /v1/models/available; POST /v1/embeddings."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serve_app.http.bodies import read_model
from serve_app.http.context import context_of
from serve_app.http.responses import json_response, model_response
from serve_app.http.routes import new_router, path_parameter, request_body
from serve_app.providers.schemas import AvailableModels, EmbeddingsRequest, Model, ModelList
from serve_app.providers.service import ProvidersService


def providers_router(service: ProvidersService) -> APIRouter:
    """The endpoints over a service."""
    router = new_router()

    @router.get("/v1/models", tags=["compatible"], response_model=ModelList)
    async def models(request: Request) -> Response:
        """Every model that can be used now."""
        context = context_of(request)
        context.operation = "models"
        return model_response(ModelList(data=await service.models(context.caller.tenant)))

    @router.get("/v1/models/available", tags=["models"], response_model=AvailableModels)
    async def available(request: Request) -> Response:
        """Every model with provider, price, context window and state."""
        context = context_of(request)
        context.operation = "models"
        return model_response(AvailableModels(models=await service.available(context.caller.tenant)))

    @router.get(
        "/v1/models/{id:path}",
        tags=["compatible"],
        response_model=Model,
        openapi_extra=path_parameter("id", "Id of a model, slashes included."),
    )
    async def model(request: Request) -> Response:
        """One model; its id may hold slashes."""
        context = context_of(request)
        context.operation = "models"
        return model_response(await service.model(context.caller.tenant, request.path_params["id"]))

    @router.post(
        "/v1/embeddings", tags=["compatible"], response_model=None, openapi_extra=request_body(EmbeddingsRequest)
    )
    async def embeddings(request: Request) -> Response:
        """OpenAI's embeddings."""
        context = context_of(request)
        context.operation = "embeddings"
        return json_response(await service.embed(await read_model(request, EmbeddingsRequest)))

    return router
