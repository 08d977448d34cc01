"""The endpoints that answer questions: POST /v1/chat/completions, /v1/responses, /v1/messages (+ /count_tokens)."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from kit.errors import NotFoundError, PenstockError
from serve_app.chat import documentation
from serve_app.chat.answers import AnswerStream, ask_for
from serve_app.chat.dialects import anthropic_messages, openai_chat, openai_responses
from serve_app.chat.dialects.request import DialectRequest
from serve_app.chat.service import ChatService
from serve_app.http.bodies import read_json
from serve_app.http.context import context_of
from serve_app.http.responses import json_response
from serve_app.http.routes import new_router, path_parameter
from serve_app.http.sse import EventStream

Parse = Callable[[bytes], DialectRequest]

_COMPATIBLE: dict[str, Any] = {"tags": ["compatible"], "response_model": None}


def chat_router(service: ChatService) -> APIRouter:
    """The endpoints over a service."""
    router = new_router()

    @router.post("/v1/chat/completions", openapi_extra=documentation.CHAT_COMPLETIONS, **_COMPATIBLE)
    async def completions(request: Request) -> Response:
        """OpenAI's chat completions, streamed or whole."""
        return await _answer(service, request, "chat", openai_chat.parse)

    @router.post("/v1/messages", openapi_extra=documentation.MESSAGES, **_COMPATIBLE)
    async def messages(request: Request) -> Response:
        """Anthropic's messages, streamed or whole."""
        return await _answer(service, request, "messages", anthropic_messages.parse)

    @router.post("/v1/messages/count_tokens", openapi_extra=documentation.COUNT_TOKENS, **_COMPATIBLE)
    async def count_tokens(request: Request) -> Response:
        """An estimate of a messages request's input tokens."""
        context = context_of(request)
        context.operation = "count_tokens"
        ask = ask_for(context, anthropic_messages.parse_count(await read_json(request)))
        return json_response({"input_tokens": await service.count_tokens(ask)})

    @router.post("/v1/responses", openapi_extra=documentation.RESPONSES, **_COMPATIBLE)
    async def responses(request: Request) -> Response:
        """OpenAI's Responses API, streamed or whole, without stored responses."""
        return await _answer(service, request, "responses", openai_responses.parse)

    stored = path_parameter("id", "Id of a response.")

    @router.get("/v1/responses/{id}", openapi_extra=stored, **_COMPATIBLE)
    async def stored_response(request: Request) -> Response:
        """Always a 404: responses are not kept."""
        raise _no_response(request)

    @router.delete("/v1/responses/{id}", openapi_extra=stored, **_COMPATIBLE)
    async def delete_response(request: Request) -> Response:
        """Always a 404: responses are not kept."""
        raise _no_response(request)

    return router


async def _answer(service: ChatService, request: Request, operation: str, parse: Parse) -> Response:
    """The whole answer or the stream that a request asks for."""
    context = context_of(request)
    context.operation = operation
    chat = parse(await read_json(request))
    ask = ask_for(context, chat)
    if chat.stream:
        stream = await service.stream(ask)
        failed = partial(_error_event, chat, stream)
        return EventStream(stream.events, render_error=failed, headers=stream.answer.headers())
    answer = await service.complete(ask)
    return Response(answer.body, headers=answer.headers(), media_type="application/json")


def _no_response(request: Request) -> NotFoundError:
    context_of(request).operation = "responses"
    id = request.path_params["id"]
    return NotFoundError(f"Response with id {id!r} not found: responses are not kept.", should_retry=False)


def _error_event(chat: DialectRequest, stream: AnswerStream, error: PenstockError, request_id: str) -> bytes:
    return chat.error_event(error, request_id, stream.tail.events)
