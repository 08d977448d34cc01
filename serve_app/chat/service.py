"""The way of a question: plan, cached answer, passages, model, provider, and what is kept of the answer.

1. The model id or `penstock.collection` says whether the question is grounded in a collection.
2. An exact answer may be in the cache; its key holds the version of the collection, read now, so that an answer from
   before an ingestion is not found.
3. Grounded: the question is embedded once; then the router and the retriever (and reranker) work side by side.
   `auto`: embedded for the router where its words do not tell the operation type. A model named outright: straight to
   the provider caller, one hop.
4. The provider caller follows the route: its model, then its fallbacks where one fails before its first byte.
5. After the last byte, in the background: the answer is stored under the version that was searched.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson

from deployments.protocols import (
    CachedAnswer,
    CacheKey,
    ProviderRequest,
    Route,
    RouteRequest,
    Stages,
    StreamEnd,
    StreamItem,
    StreamStart,
    Vectors,
)
from deployments.router.decide import is_auto
from kit.errors import DeadlineError, UpstreamError
from serve_app.chat import prompt
from serve_app.chat.answers import Answer, AnswerStream, Ask, Plan, Tail, from_cache, to_metadata
from serve_app.chat.caching import AnswerKeys
from serve_app.chat.closing import CostNote
from serve_app.chat.token_count import estimated_tokens
from serve_app.context.service import ContextService
from serve_app.http.background import Background
from serve_app.http.errors import bad_field
from serve_app.http.sse import close


class ChatService:
    """Answers chat requests. One instance per replica."""

    def __init__(
        self,
        stages: Stages,
        context: ContextService,
        keys: AnswerKeys,
        background: Background,
        *,
        rag_enabled: bool,
    ) -> None:
        self._stages = stages
        self._context = context
        self._keys = keys
        self._background = background
        self._rag_enabled = rag_enabled

    async def complete(self, ask: Ask) -> Answer:
        """One whole answer. Raises what the stages raise, DeadlineError when the time is over."""
        try:
            async with asyncio.timeout(ask.request.remaining()):
                return await self._complete(ask)
        except TimeoutError:
            raise DeadlineError("The time for this request is over.") from None

    async def stream(self, ask: Ask) -> AnswerStream:
        """An answer whose first byte is at hand: an error before it is raised here."""
        try:
            async with asyncio.timeout(ask.request.remaining()):
                return await self._stream(ask)
        except TimeoutError:
            raise DeadlineError("The time for this request is over.") from None

    async def count_tokens(self, ask: Ask) -> int:
        """An estimate of a request's input tokens, without what retrieval would add. Raises for an unknown model."""
        await self._resolve(ask)
        if not is_auto(ask.model):
            await self._stages.router.route(_route_request(ask))
        return estimated_tokens(ask.chat)

    async def _complete(self, ask: Ask) -> Answer:
        await self._resolve(ask)
        key = await self._key(ask)
        cached = await self._stages.cache.get(key) if key else None
        if cached is not None:
            return from_cache(cached)
        plan = await self._plan(ask)
        reply = await self._stages.provider_caller.complete(_provider_request(ask, plan))
        answer = Answer(
            body=reply.body,
            provider=reply.provider,
            model=reply.model,
            cache="miss" if key else "off",
            cost=reply.usage.cost if reply.usage else None,
            operation=plan.route.operation,
            reason=_reason(plan, reply.failure),
            passages=plan.passages,
            limits=reply.limits,
        )
        if key:
            self._keep(ask, plan, answer)
        return answer

    async def _stream(self, ask: Ask) -> AnswerStream:
        await self._resolve(ask)
        key = await self._key(ask)
        cached = await self._stages.cache.get(key) if key else None
        if cached is not None:
            answer = from_cache(cached)
            note = CostNote(ask.chat.cost_mark)
            events = note.pass_on(ask.chat.replay(answer.body)) + note.end(answer.cost)
            return AnswerStream(answer, _once(events), Tail())
        plan = await self._plan(ask)
        items = self._stages.provider_caller.stream(_provider_request(ask, plan))
        try:
            start = await anext(items, None)
        except BaseException:
            await close(items)
            raise
        if not isinstance(start, StreamStart):
            raise UpstreamError("The stream did not say who answers.")
        answer = Answer(
            body=b"",
            provider=start.provider,
            model=start.model,
            cache="miss" if key else "off",
            cost=None,
            operation=plan.route.operation,
            reason=_reason(plan, start.failure),
            passages=plan.passages,
            limits=start.limits,
        )
        tail = Tail()
        return AnswerStream(answer, self._relay(ask, plan, answer, items, tail), tail)

    async def _resolve(self, ask: Ask) -> None:
        """Split the model id into policy or model and collection."""
        chat = ask.chat
        if ask.collection is None:
            ask.collection = chat.extras.collection
        if ask.collection is None and "@" in chat.model:
            known = {model.id for model in await self._stages.router.models(ask.tenant)}
            base, _, collection = chat.model.rpartition("@")
            if chat.model not in known and base and collection:
                ask.model, ask.collection = base, collection
        if chat.extras.mode is not None:
            if ask.model != "auto":
                raise bad_field("penstock.mode", "goes with the model `auto` only")
            ask.model = f"auto:{chat.extras.mode}"
        if not self._rag_enabled:
            ask.collection = None
        if ask.collection is not None and not ask.question.strip():
            raise bad_field(
                ask.chat.conversation_field, "must hold a user message with text for an answer from a collection"
            )

    async def _key(self, ask: Ask) -> CacheKey | None:
        if not self._keys.cacheable(ask):
            return None
        if ask.collection is None:
            return self._keys.key(ask, None)
        return self._keys.key(ask, await self._context.revision(ask.tenant, ask.collection))

    async def _plan(self, ask: Ask) -> Plan:
        if ask.collection is not None:
            return await self._plan_grounded(ask, ask.collection)
        request = _route_request(ask)
        if self._stages.router.needs_vector(request):
            request = replace(request, vector=(await self._stages.embedder.embed([ask.question])).sentences[0])
        route = ask.request.route = await self._stages.router.route(request)
        return Plan(route, system=_instruction(ask, route))

    async def _plan_grounded(self, ask: Ask, collection: str) -> Plan:
        embeddings = await self._context.embed(ask.question)
        route, found = await asyncio.gather(
            self._stages.router.route(_route_request(ask, embeddings.sentences[0])),
            self._context.find(ask.tenant, collection, ask.question, embeddings, k=ask.k, filters=ask.filters),
        )
        ask.request.route = route
        passages = prompt.within_budget(found.passages)
        texts = [text for text in (_instruction(ask, route), prompt.grounding(passages)) if text]
        return Plan(route, passages, found.revision, "\n\n".join(texts))

    async def _relay(
        self, ask: Ask, plan: Plan, answer: Answer, items: AsyncIterator[StreamItem], tail: Tail
    ) -> AsyncIterator[bytes]:
        """The provider's bytes as they are, the cost written into the last event. A stream that ends without its
        StreamEnd is a failure."""
        gathering = ask.chat.gathering() if answer.cache == "miss" else None
        note = CostNote(ask.chat.cost_mark)
        end: StreamEnd | None = None
        try:
            async for item in items:
                if isinstance(item, bytes):
                    tail.events = item
                    if ready := note.pass_on(item):
                        yield ready
                    if gathering is not None:
                        gathering.add(item)
                elif isinstance(item, StreamEnd):
                    end = item
        finally:
            await close(items)
        if end is None:
            raise UpstreamError("The provider's answer ended before it was complete.")
        answer.cost = end.usage.cost if end.usage else None
        if held := note.end(answer.cost if end.complete else None):
            yield held
        if not end.complete:
            ask.request.failed = True
            return
        body = gathering.body(end.usage) if gathering is not None else None
        if body is not None:
            answer.body = body
            self._keep(ask, plan, answer)

    def _keep(self, ask: Ask, plan: Plan, answer: Answer) -> None:
        """Store an answer. One of a fallback is not what was asked for, and must not outlive the failure."""
        if (answer.provider, answer.model) != (plan.route.provider, plan.route.model):
            return
        key = self._keys.key(ask, plan.revision)
        stored = CachedAnswer(answer.body, to_metadata(answer))
        self._background.start(self._stages.cache.put(key, stored, operation=plan.route.operation))


def _reason(plan: Plan, failure: str | None) -> str:
    """Why this model answers; a fallback says what it stands in for."""
    if failure is None:
        return plan.route.reason
    return f"{plan.route.reason} {plan.route.model} failed, so a fallback answers: {failure}"


def _route_request(ask: Ask, vector: Vectors | None = None) -> RouteRequest:
    return RouteRequest(
        account=ask.account,
        model=ask.model,
        question=ask.question,
        vector=vector,
        grounded=ask.collection is not None,
        operation=ask.operation,
    )


def _instruction(ask: Ask, route: Route) -> str | None:
    """What the operation type asks for, where the caller left the choice to the router."""
    return route.instruction if is_auto(ask.model) else None


def _provider_request(ask: Ask, plan: Plan) -> ProviderRequest:
    chat = ask.chat
    if plan.system is not None:
        body = orjson.dumps(chat.with_system(plan.system))
    else:
        body = orjson.dumps(chat.body) if chat.raw is None else chat.raw
    return ProviderRequest(
        account=ask.account,
        targets=plan.route.targets,
        dialect=chat.dialect,
        body=body,
        request_id=ask.request.request_id,
        timeout=ask.request.remaining(),
        operation=plan.route.operation,
        reason=plan.route.reason,
        assignment=plan.route.assignment,
        question=ask.question,
        passages=plan.passages,
    )


async def _once(events: bytes) -> AsyncIterator[bytes]:
    yield events
