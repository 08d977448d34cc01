"""POST /api/v1/ai-tutor/query."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from kit.errors import PenstockError
from serve_app.http.bodies import read_model
from serve_app.http.context import context_of
from serve_app.http.errors import payload
from serve_app.http.responses import model_response
from serve_app.http.routes import new_router, request_body
from serve_app.http.sse import EventStream, encode
from serve_app.tutor.schemas import QueryRequest, QueryResponse
from serve_app.tutor.service import TutorService


def tutor_router(service: TutorService) -> APIRouter:
    """The endpoint over a service."""
    router = new_router()

    @router.post(
        "/api/v1/ai-tutor/query",
        tags=["tutor"],
        response_model=QueryResponse,
        openapi_extra=request_body(QueryRequest),
    )
    async def query(request: Request) -> Response:
        """An answer from a collection with its citations; with `stream`, as events `token`, `citations`, `done`."""
        context = context_of(request)
        context.operation = "query"
        wanted = await read_model(request, QueryRequest)
        if wanted.stream:
            answer, events = await service.stream(context, wanted)
            return EventStream(events, render_error=_error_event, headers=answer.headers())
        return model_response(await service.answer(context, wanted))

    return router


def _error_event(error: PenstockError, request_id: str) -> bytes:
    return encode(payload(error, request_id, "platform"), "error")
