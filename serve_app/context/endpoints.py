"""POST /v1/context/search, GET /v1/context/{id}."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from deployments.protocols import Passage
from serve_app.context.schemas import Document, FoundPassage, SearchRequest, SearchResponse
from serve_app.context.service import ContextService
from serve_app.http.bodies import read_model
from serve_app.http.context import context_of
from serve_app.http.responses import model_response
from serve_app.http.routes import new_router, path_parameter, request_body


def context_router(service: ContextService) -> APIRouter:
    """The endpoints over a service."""
    router = new_router()

    @router.post(
        "/v1/context/search", tags=["context"], response_model=SearchResponse, openapi_extra=request_body(SearchRequest)
    )
    async def search(request: Request) -> Response:
        """Hybrid search in one collection, reranked."""
        context = context_of(request)
        context.operation = "search"
        wanted = await read_model(request, SearchRequest)
        tenant = context.caller.tenant
        result = await service.find(
            tenant,
            wanted.collection,
            wanted.query,
            await service.embed(wanted.query),
            k=wanted.k,
            filters=wanted.filters.as_mapping(),
            rerank=wanted.rerank,
        )
        results = [_found(passage, explain=wanted.explain) for passage in result.passages]
        return model_response(
            SearchResponse(collection=wanted.collection, version=result.version, count=len(results), results=results)
        )

    @router.get(
        "/v1/context/{id}",
        tags=["context"],
        response_model=Document,
        openapi_extra=path_parameter("id", "Id of a document."),
    )
    async def document(request: Request) -> Response:
        """A document with its chunks."""
        context = context_of(request)
        context.operation = "document"
        return model_response(await service.document(context.caller.tenant, request.path_params["id"]))

    return router


def _found(passage: Passage, *, explain: bool) -> FoundPassage:
    return FoundPassage(
        chunk_id=passage.chunk_id,
        document_id=passage.document_id,
        document=passage.document,
        source=passage.source,
        heading=passage.heading,
        text=passage.text,
        score=passage.score,
        scores=dict(passage.scores) if explain else None,
        subject=passage.subject,
        class_level=passage.class_level,
    )
