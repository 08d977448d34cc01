"""Questions to the tutor: a chat of one question, answered from a collection, with its citations spelled out."""

from collections.abc import AsyncIterator
from typing import Any

import orjson

from kit.errors import UpstreamError
from serve_app.chat.answers import Answer, Ask
from serve_app.chat.citations import citations_of
from serve_app.chat.dialects.events import events_of
from serve_app.chat.dialects.extras import Extras
from serve_app.chat.dialects.openai_chat import ChatCompletionsRequest
from serve_app.chat.dialects.openai_chat_stream import Completion, text_of
from serve_app.chat.service import ChatService
from serve_app.context.service import ContextService
from serve_app.http.context import RequestContext
from serve_app.http.errors import bad_field
from serve_app.http.sse import close, encode
from serve_app.tutor.schemas import CitationOut, QueryRequest, QueryResponse, QueryResult


class TutorService:
    """Answers questions. One instance per replica."""

    def __init__(self, chat: ChatService, context: ContextService, *, rag_enabled: bool) -> None:
        self._chat = chat
        self._context = context
        self._rag_enabled = rag_enabled

    async def answer(self, request: RequestContext, query: QueryRequest) -> QueryResponse:
        """The whole answer."""
        ask = await self._ask(request, query)
        answer = await self._chat.complete(ask)
        completion = orjson.loads(answer.body)
        text = (completion.get("choices") or [{}])[0].get("message", {}).get("content")
        if not isinstance(text, str):
            raise UpstreamError("The provider's answer holds no text.")
        stated = completion.get("penstock")
        result = _result(ask, answer, stated, completion.get("usage"))
        return QueryResponse(**result.model_dump(), answer=text, citations=_citations(text, answer, stated))

    async def stream(self, request: RequestContext, query: QueryRequest) -> tuple[Answer, AsyncIterator[bytes]]:
        """Events: `token`s as they come, then `citations`, then `done`. An error before the first is raised here."""
        ask = await self._ask(request, query)
        stream = await self._chat.stream(ask)
        return stream.answer, self._events(ask, stream.answer, stream.events)

    async def _events(self, ask: Ask, answer: Answer, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        completion = Completion()
        try:
            async for chunk in events:
                tokens = b""
                for event in events_of(chunk):
                    _refuse_error(event)
                    completion.add_event(event)
                    if text := text_of(event):
                        tokens += encode({"text": text}, "token")
                if tokens:
                    yield tokens
        finally:
            await close(events)
        citations = _citations("".join(completion.text), answer, completion.penstock)
        yield encode({"citations": [citation.model_dump(mode="json") for citation in citations]}, "citations")
        yield encode(_result(ask, answer, completion.penstock, completion.usage).model_dump(mode="json"), "done")

    async def _ask(self, request: RequestContext, query: QueryRequest) -> Ask:
        collection = await self._collection(request.caller.tenant, query.collection) if self._rag_enabled else None
        body: dict[str, Any] = {"model": query.model, "messages": [{"role": "user", "content": query.question}]}
        if query.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        extras = Extras(use_cache=query.cache)
        chat = ChatCompletionsRequest(query.model, body, None, query.stream, extras)
        return Ask(
            request,
            chat,
            request.caller.account,
            query.model,
            query.question,
            collection=collection,
            filters=query.filters(),
            k=query.k,
            operation=None if query.query_type == "auto" else query.query_type,
        )

    async def _collection(self, tenant: str, named: str | None) -> str | None:
        """The named collection, or the only one there is; None for a tenant without any."""
        if named is not None:
            return named
        names = await self._context.collections(tenant)
        if len(names) > 1:
            raise bad_field("collection", f"is required here and must be one of {', '.join(names)}")
        return names[0] if names else None


def _refuse_error(event: dict[str, Any]) -> None:
    error = event.get("error")
    if error:
        message = error.get("message") if isinstance(error, dict) else None
        raise UpstreamError(message if isinstance(message, str) else "The provider broke off its answer.")


def _citations(text: str, answer: Answer, stated: dict[str, Any] | None) -> list[CitationOut]:
    return [
        CitationOut(
            number=citation.number,
            document_id=citation.passage.document_id,
            document=citation.passage.document,
            source=citation.passage.source,
            heading=citation.passage.heading,
            chunk_id=citation.passage.chunk_id,
            score=citation.passage.score,
            quote=citation.quote,
        )
        for citation in citations_of(text, answer.passages, stated)
    ]


def _result(ask: Ask, answer: Answer, stated: dict[str, Any] | None, usage: dict[str, Any] | None) -> QueryResult:
    return QueryResult(
        answered=stated.get("answered") if stated else None,
        model=answer.model,
        provider=answer.provider,
        cost_usd=answer.cost_usd,
        cache=answer.cache,
        operation_type=answer.operation,
        route_reason=answer.reason,
        collection=ask.collection,
        request_id=ask.request.request_id,
        usage=usage,
    )
