"""The provider caller: gets answers from the local extractive provider and from OpenAI-compatible servers."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import orjson

from deployments.measure import measured
from deployments.protocols import Embedder, ProviderReply, ProviderRequest, StreamStart, Usage
from deployments.provider_caller import chat_format
from deployments.provider_caller.catalogue import LOCAL, Catalogue, Endpoint, key_variable
from deployments.provider_caller.compatible import CompatibleClient
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.local import LocalProvider
from deployments.provider_caller.stream_watch import StreamWatch
from kit.errors import UnavailableError, ValidationError
from kit.telemetry import METRICS

TOKENS = "penstock_provider_tokens_total"
COST = "penstock_provider_cost_nanodollars_total"
UNPRICED = "penstock_provider_unpriced_calls_total"


class ProviderCallerStage:
    """Implements ProviderCaller. The embedder is what the local provider finds sentences with."""

    def __init__(self, config: ProviderCallerConfig, embedder: Embedder, *, catalogue: Catalogue | None = None) -> None:
        self._config = config
        self._catalogue = catalogue or Catalogue(config)
        self._local = LocalProvider(embedder)
        self._client: CompatibleClient | None = None

    async def start(self) -> None:
        """Open the connection pool, in the event loop that will use it."""
        self._client = CompatibleClient(
            connect_timeout=self._config.connect_timeout, max_connections=self._config.max_connections
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.close()

    @measured("provider_caller")
    async def complete(self, request: ProviderRequest) -> ProviderReply:
        """One whole answer; see ProviderCaller.complete."""
        if request.provider == LOCAL:
            return await self._complete_locally(request)
        client, endpoint = self._reach(request)
        body, stated = await client.complete(endpoint, request)
        return ProviderReply(200, body, request.provider, request.model, self._account(request, stated))

    @measured("provider_caller")
    async def stream(self, request: ProviderRequest) -> AsyncIterator[StreamStart | bytes]:
        """Server-sent events as they come; see ProviderCaller.stream."""
        items = self._stream_locally(request) if request.provider == LOCAL else self._pass_through(request)
        async with aclosing(items):
            started = False
            async for item in items:
                if not started:
                    started = True
                    yield StreamStart(request.provider, request.model)
                yield item

    async def _pass_through(self, request: ProviderRequest) -> AsyncGenerator[bytes, None]:
        client, endpoint = self._reach(request)
        watch = StreamWatch()
        try:
            async with aclosing(client.stream(endpoint, request, watch)) as items:
                async for item in items:
                    yield item
        finally:
            self._account(request, watch.usage)

    async def _complete_locally(self, request: ProviderRequest) -> ProviderReply:
        chat_format.refuse_unsupported(_parse(request.body), request.passages)
        answer = await self._local.answer(request.question, request.passages)
        usage = chat_format.count_usage(request.question, request.passages, answer.text)
        return ProviderReply(200, chat_format.completion(answer, usage), request.provider, request.model, usage)

    async def _stream_locally(self, request: ProviderRequest) -> AsyncGenerator[bytes, None]:
        body = _parse(request.body)
        chat_format.refuse_unsupported(body, request.passages)
        answer = await self._local.answer(request.question, request.passages)
        usage = chat_format.count_usage(request.question, request.passages, answer.text)
        options = body.get("stream_options")
        include_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        for chunk in chat_format.chunks(answer, usage, include_usage=include_usage):
            yield chunk

    def _reach(self, request: ProviderRequest) -> tuple[CompatibleClient, Endpoint]:
        if self._client is None:
            raise UnavailableError("The provider caller has not been started.")
        endpoint = self._catalogue.endpoint(request.provider)
        if endpoint is None:
            raise UnavailableError(
                f"The provider {request.provider!r} is not available: set {key_variable(request.provider)}.",
                should_retry=False,
            )
        return self._client, endpoint

    def _account(self, request: ProviderRequest, stated: Usage | None) -> Usage | None:
        """The usage with its cost, counted in this process's metrics."""
        if stated is None:
            return None
        cost = self._catalogue.cost(request.provider, request.model, stated)
        usage = Usage(stated.input_tokens, stated.output_tokens, stated.cached_tokens, cost)
        provider, model = request.provider, request.model
        METRICS.count(TOKENS, usage.input_tokens, kind="input", provider=provider, model=model)
        METRICS.count(TOKENS, usage.output_tokens, kind="output", provider=provider, model=model)
        if cost is None:
            METRICS.count(UNPRICED, provider=provider, model=model)
        else:
            METRICS.count(COST, cost, provider=provider, model=model)
        return usage


def _parse(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValidationError("The request's body is not JSON.") from error
    if not isinstance(content, dict):
        raise ValidationError("The request's body must be a JSON object.")
    return content
