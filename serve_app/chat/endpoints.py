"""POST /v1/chat/completions."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from kit.errors import PenstockError
from serve_app.chat import schemas
from serve_app.chat.answers import ask_for
from serve_app.chat.service import ChatService
from serve_app.http.bodies import read_body
from serve_app.http.context import context_of
from serve_app.http.errors import payload
from serve_app.http.routes import new_router
from serve_app.http.sse import EventStream, encode


def chat_router(service: ChatService) -> APIRouter:
    """The endpoint over a service."""
    router = new_router()

    @router.post("/v1/chat/completions", tags=["compatible"], response_model=None, openapi_extra=schemas.OPENAPI)
    async def completions(request: Request) -> Response:
        """OpenAI's chat completions, streamed or whole."""
        context = context_of(request)
        context.operation = "chat"
        chat = schemas.parse(await read_body(request.receive))
        ask = ask_for(context, chat)
        if chat.stream:
            stream = await service.stream(ask)
            return EventStream(stream.events, render_error=error_event, headers=stream.answer.headers())
        answer = await service.complete(ask)
        return Response(answer.body, headers=answer.headers(), media_type="application/json")

    return router


def error_event(error: PenstockError, request_id: str) -> bytes:
    """OpenAI's shape of an error inside a stream."""
    return encode(payload(error, request_id, compatible=True))
