"""Reaches a stage that runs as its own Ray Serve deployment: one thin client per Protocol.

A call that only reads is sent once more, to another replica, when the first one dies under it (Ray reports
`ActorDiedError` or `ActorUnavailableError`). A full queue becomes the platform's UnavailableError.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

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
from kit.errors import PenstockError, UnavailableError


class StageClient:
    """Sends calls to one stage's deployment."""

    def __init__(self, stage: str, handle: "DeploymentHandle[Any]") -> None:
        self._stage = stage
        self._handle = handle
        self._streaming = handle.options(stream=True)

    async def _call(self, method: str, *args: Any, retry: bool = True, **kwargs: Any) -> Any:
        remote = getattr(self._handle, method).remote
        for attempt in (1, 2):
            try:
                return await remote(*args, **kwargs)
            except RayActorError as error:
                if attempt == 2 or not retry:
                    raise self._lost() from error
            except (BackPressureError, DeploymentUnavailableError) as error:
                raise self._busy() from error
            except RayTaskError as error:
                raise self._cause(error) from error
        raise AssertionError("unreachable")

    async def _stream(self, method: str, *args: Any) -> AsyncIterator[Any]:
        """Items of a streaming method; leaving the loop cancels the call in the replica."""
        items = getattr(self._streaming, method).remote(*args)
        finished = False
        try:
            async for item in items:
                yield item
            finished = True
        except RayActorError as error:
            finished = True
            raise self._lost() from error
        except (BackPressureError, DeploymentUnavailableError) as error:
            finished = True
            raise self._busy() from error
        except RayTaskError as error:
            finished = True
            raise self._cause(error) from error
        finally:
            if not finished:
                with contextlib.suppress(RayActorError):
                    items.cancel()

    def _lost(self) -> UnavailableError:
        return UnavailableError(f"A replica of the {self._stage} was lost while it worked on this.", retry_after=1)

    def _busy(self) -> UnavailableError:
        return UnavailableError(f"The {self._stage} has more work than it can queue.", retry_after=1)

    def _cause(self, error: RayTaskError) -> Exception:
        cause = error.cause
        return cause if isinstance(cause, PenstockError) else error


class EmbedderClient(StageClient):
    """protocols.Embedder over a deployment."""

    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        """See the Protocol."""
        result: Embeddings = await self._call("embed", texts, tokens=tokens)
        return result


class RetrieverClient(StageClient):
    """protocols.Retriever over a deployment."""

    async def search(self, query: SearchQuery) -> SearchResult:
        """See the Protocol."""
        result: SearchResult = await self._call("search", query)
        return result


class RerankerClient(StageClient):
    """protocols.Reranker over a deployment."""

    async def rerank(self, request: RerankRequest) -> tuple[Passage, ...]:
        """See the Protocol."""
        result: tuple[Passage, ...] = await self._call("rerank", request)
        return result


class RemoteRouter(StageClient):
    """protocols.Router over a deployment."""

    async def route(self, request: RouteRequest) -> Route:
        """See the Protocol."""
        result: Route = await self._call("route", request)
        return result

    async def models(self, tenant: str) -> tuple[ModelInfo, ...]:
        """See the Protocol."""
        result: tuple[ModelInfo, ...] = await self._call("models", tenant)
        return result


class ProviderCallerClient(StageClient):
    """protocols.ProviderCaller over a deployment. Never retried here: a provider call charges."""

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        """See the Protocol."""
        result: ProviderReply = await self._call("complete", request, retry=False)
        return result

    async def stream(self, request: ProviderRequest) -> AsyncIterator[StreamItem]:
        """See the Protocol."""
        async with contextlib.aclosing(self._stream("stream", request)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for item in batch:
                    yield item

    async def health(self) -> CallerHealth:
        """See the Protocol."""
        result: CallerHealth = await self._call("health")
        return result


class RemoteCache(StageClient):
    """protocols.Cache over a deployment."""

    async def get(self, key: CacheKey) -> CachedAnswer | None:
        """See the Protocol."""
        result: CachedAnswer | None = await self._call("get", key)
        return result

    async def put(self, key: CacheKey, answer: CachedAnswer, *, operation: str) -> bool:
        """See the Protocol."""
        result: bool = await self._call("put", key, answer, operation=operation)
        return result
