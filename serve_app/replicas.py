"""What Ray Serve runs: one class for each deployment, around the plain class that does the work.

A replica reads its settings from its environment, which `penstock up` prepared; the graph passes only handles.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from deployments.coalesce import coalesced
from deployments.protocols import (
    CachedAnswer,
    CacheKey,
    CallerHealth,
    Embeddings,
    ModelInfo,
    Passage,
    ProviderReply,
    ProviderRequest,
    RerankRequest,
    Route,
    RouteRequest,
    SearchQuery,
    SearchResult,
    StreamItem,
)
from deployments.settings import load_settings
from kit.telemetry import METRICS
from serve_app.assembly import Assembly
from serve_app.http import log
from serve_app.metrics import RayExporter, scrape_cluster
from serve_app.profiles import StageName


class StageReplica:
    """Base of the six: starts its stage before the replica is ready, closes it when the replica goes."""

    stage_name: StageName

    async def __init__(self, handles: Mapping[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits it
        settings = load_settings(dotenv=None)
        log.configure(settings.log_level)
        self._assembly = Assembly(settings, handles)
        self.stage = self._assembly.local(self.stage_name)
        await self._assembly.start()
        self._metrics = export_metrics()

    async def __del__(self) -> None:
        await stop_metrics(self._metrics)
        await self._assembly.close()


class EmbedderReplica(StageReplica):
    """protocols.Embedder."""

    stage_name = "embedder"

    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        """See the Protocol; likewise below."""
        return await self.stage.embed(texts, tokens=tokens)  # type: ignore[no-any-return]


class RetrieverReplica(StageReplica):
    """protocols.Retriever."""

    stage_name = "retriever"

    async def search(self, query: SearchQuery) -> SearchResult:
        """See the Protocol."""
        return await self.stage.search(query)  # type: ignore[no-any-return]


class RerankerReplica(StageReplica):
    """protocols.Reranker."""

    stage_name = "reranker"

    async def rerank(self, request: RerankRequest) -> tuple[Passage, ...]:
        """See the Protocol."""
        return await self.stage.rerank(request)  # type: ignore[no-any-return]


class RouterReplica(StageReplica):
    """protocols.Router."""

    stage_name = "router"

    async def route(self, request: RouteRequest) -> Route:
        """See the Protocol."""
        return await self.stage.route(request)  # type: ignore[no-any-return]

    async def models(self, tenant: str) -> tuple[ModelInfo, ...]:
        """See the Protocol."""
        return await self.stage.models(tenant)  # type: ignore[no-any-return]


class ProviderCallerReplica(StageReplica):
    """protocols.ProviderCaller, except that a stream's items come in lists: all that are ready in one message."""

    stage_name = "provider_caller"

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        """See the Protocol."""
        return await self.stage.complete(request)  # type: ignore[no-any-return]

    async def stream(self, request: ProviderRequest) -> AsyncIterator[list[StreamItem]]:
        """See the Protocol."""
        async with contextlib.aclosing(coalesced(self.stage.stream(request))) as batches:
            async for batch in batches:
                yield batch

    async def health(self) -> CallerHealth:
        """See the Protocol."""
        return await self.stage.health()  # type: ignore[no-any-return]


class CacheReplica(StageReplica):
    """protocols.Cache."""

    stage_name = "cache"

    async def get(self, key: CacheKey) -> CachedAnswer | None:
        """See the Protocol."""
        return await self.stage.get(key)  # type: ignore[no-any-return]

    async def put(self, key: CacheKey, answer: CachedAnswer, *, operation: str) -> bool:
        """See the Protocol."""
        return await self.stage.put(key, answer, operation=operation)  # type: ignore[no-any-return]


class IngressReplica:
    """The HTTP surface with the stages that are placed inline. The app is built here: FastAPI apps do not pickle."""

    def __init__(self, handles: Mapping[str, Any]) -> None:
        self._assembly = Assembly(load_settings(dotenv=None), handles)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called once in each replica; Serve runs the lifespan."""
        from serve_app.http.app import create_app

        assembly = self._assembly
        app = create_app(assembly.settings, assembly.stages(), assembly.databases, assembly.redis, scrape_cluster)
        of_the_app = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            await assembly.start()
            metrics = export_metrics()
            async with of_the_app(app) as state:
                yield state
            await stop_metrics(metrics)
            await assembly.close()

        app.router.lifespan_context = lifespan
        return app


def export_metrics() -> "asyncio.Task[None]":
    """Send this process's counts to Ray's metrics agent from now on."""
    METRICS.export_to(RayExporter())
    return asyncio.create_task(METRICS.run(), name="export metrics")


async def stop_metrics(task: "asyncio.Task[None]") -> None:
    """Send what is left and stop."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    METRICS.flush()
