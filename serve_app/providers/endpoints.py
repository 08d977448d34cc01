"""GET /v1/models, /v1/models/{id}, /v1/models/available; POST /v1/embeddings."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serve_app.http.bodies import read_model, read_query
from serve_app.http.context import context_of
from serve_app.http.errors import family_of
from serve_app.http.responses import json_response, model_response
from serve_app.http.routes import new_router, path_parameter, request_body
from serve_app.providers.schemas import AvailableModels, EmbeddingsRequest, Model, ModelList, PageQuery
from serve_app.providers.service import ProvidersService, anthropic_model, openai_model


def providers_router(service: ProvidersService) -> APIRouter:
    """The endpoints over a service."""
    router = new_router()

    @router.get("/v1/models", tags=["compatible"], response_model=ModelList)
    async def models(request: Request) -> Response:
        """Every model that can be used now. With the header `anthropic-version`: in Anthropic's shape, in pages."""
        context = context_of(request)
        context.operation = "models"
        tenant = context.caller.tenant
        if family_of(request.scope) == "anthropic":
            return model_response(await service.anthropic_models(tenant, read_query(request, PageQuery)))
        return model_response(ModelList(data=[openai_model(model) for model in await service.models(tenant)]))

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
        """One model; its id may hold slashes. With the header `anthropic-version`: in Anthropic's shape."""
        context = context_of(request)
        context.operation = "models"
        model = await service.model(context.caller.tenant, request.path_params["id"])
        shown = anthropic_model if family_of(request.scope) == "anthropic" else openai_model
        return model_response(shown(model))

    @router.post(
        "/v1/embeddings", tags=["compatible"], response_model=None, openapi_extra=request_body(EmbeddingsRequest)
    )
    async def embeddings(request: Request) -> Response:
        """OpenAI's embeddings."""
        context = context_of(request)
        context.operation = "embeddings"
        return json_response(await service.embed(await read_model(request, EmbeddingsRequest)))

    return router
