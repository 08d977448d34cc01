"""The provider caller: gets answers from the local extractive provider and from model providers."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson

from deployments.measure import measured
from deployments.protocols import (
    Embedder,
    ProviderReply,
    ProviderRequest,
    StreamEnd,
    StreamItem,
    StreamStart,
    Usage,
)
from deployments.provider_caller.call import Call, Endpoint, ProviderClient
from deployments.provider_caller.catalogue import LOCAL, Catalogue, key_variable
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.http_client import HttpClient
from deployments.provider_caller.local import LocalProvider
from deployments.provider_caller.local_client import LocalClient
from kit.egress import EgressRules
from kit.errors import PenstockError, RateLimitError, UnavailableError, UpstreamError, ValidationError
from kit.telemetry import METRICS

TOKENS = "penstock_provider_tokens_total"
COST = "penstock_provider_cost_nanodollars_total"
UNPRICED = "penstock_provider_unpriced_calls_total"

WORTH_A_FALLBACK = (UpstreamError, UnavailableError, RateLimitError)


class ProviderCallerStage:
    """Implements ProviderCaller. The embedder is what the local provider finds sentences with."""

    def __init__(self, config: ProviderCallerConfig, embedder: Embedder, *, catalogue: Catalogue | None = None) -> None:
        self._config = config
        self._catalogue = catalogue or Catalogue(config)
        self._local = LocalClient(LocalProvider(embedder))
        self._client: HttpClient | None = None

    async def start(self) -> None:
        """Open the connection pool, in the event loop that will use it."""
        self._client = HttpClient(
            self._catalogue.providers,
            connect_timeout=self._config.connect_timeout,
            max_connections=self._config.max_connections,
            max_answer_bytes=self._config.max_answer_bytes,
            egress=EgressRules(),
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.close()

    @measured("provider_caller")
    async def complete(self, request: ProviderRequest) -> ProviderReply:
        """One whole answer; see ProviderCaller.complete."""
        content = _parse(request.body)
        failure: PenstockError | None = None
        for provider, model in request.targets:
            try:
                client, endpoint = self._reach(provider)
                answer = await client.complete(endpoint, _call(request, content, provider, model, stream=False))
                usage = self._account(provider, model, answer.usage)
                return ProviderReply(answer.body, provider, model, usage, failure.message if failure else None)
            except WORTH_A_FALLBACK as error:
                failure = failure or error
        raise failure or UnavailableError("No provider is at hand.")

    @measured("provider_caller")
    async def stream(self, request: ProviderRequest) -> AsyncIterator[StreamItem]:
        """Server-sent events as they come; see ProviderCaller.stream."""
        content = _parse(request.body)
        failure: PenstockError | None = None
        for provider, model in request.targets:
            try:
                client, endpoint = self._reach(provider)
                opened = await client.open(endpoint, _call(request, content, provider, model, stream=True))
                break
            except WORTH_A_FALLBACK as error:
                failure = failure or error
        else:
            raise failure or UnavailableError("No provider is at hand.")
        usage: Usage | None = None
        try:
            yield StreamStart(provider, model, failure.message if failure else None)
            async with aclosing(opened.events()) as events:
                async for item in events:
                    yield item
        finally:
            await opened.close()
            usage = self._account(provider, model, opened.usage)
        yield StreamEnd(opened.complete, usage)

    def _reach(self, provider: str) -> tuple[ProviderClient, Endpoint]:
        if provider == LOCAL:
            return self._local, Endpoint(LOCAL, LOCAL, "", None)
        if self._client is None:
            raise UnavailableError("The provider caller has not been started.")
        endpoint = self._catalogue.endpoint(provider)
        if endpoint is None:
            raise UnavailableError(
                f"The provider {provider!r} is not available: set {key_variable(provider)}.", should_retry=False
            )
        return self._client, endpoint

    def _account(self, provider: str, model: str, stated: Usage | None) -> Usage | None:
        """The usage with its cost, counted in this process's metrics."""
        if stated is None:
            return None
        cost = 0 if provider == LOCAL else self._catalogue.cost(provider, model, stated)
        usage = replace(stated, cost=cost)
        if provider == LOCAL:
            return usage
        METRICS.count(TOKENS, usage.input_tokens, kind="input", provider=provider, model=model)
        METRICS.count(TOKENS, usage.output_tokens, kind="output", provider=provider, model=model)
        if cost is None:
            METRICS.count(UNPRICED, provider=provider, model=model)
        else:
            METRICS.count(COST, cost, provider=provider, model=model)
        return usage


def _call(request: ProviderRequest, content: dict[str, Any], provider: str, model: str, *, stream: bool) -> Call:
    return Call(
        provider=provider,
        model=model,
        dialect=request.dialect,
        body=request.body,
        content=content,
        stream=stream,
        request_id=request.request_id,
        timeout=request.timeout,
        idle_timeout=request.timeout,
        question=request.question,
        passages=request.passages,
    )


def _parse(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValidationError("The request's body is not JSON.") from error
    if not isinstance(content, dict):
        raise ValidationError("The request's body must be a JSON object.")
    return content
