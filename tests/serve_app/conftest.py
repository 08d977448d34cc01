"""The whole app under a real uvicorn, on real Postgres and Redis, with a provider that does as its model is called."""

import asyncio
import contextlib
import functools
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import uvicorn

from deployments.cache.stage import CacheStage
from deployments.protocols import (
    Embeddings,
    ProviderReply,
    ProviderRequest,
    Stages,
    StreamEnd,
    StreamItem,
    StreamStart,
    TokenVectors,
    Usage,
)
from deployments.provider_caller.catalogue import Model, ProviderState
from deployments.provider_caller.config import ProviderCallerConfig
from deployments.provider_caller.stage import ProviderCallerStage
from deployments.reranker.source import PostgresTokenVectors
from deployments.reranker.stage import RerankerStage
from deployments.retriever.records import NewChunk, NewDocument
from deployments.retriever.stage import RetrieverStage
from deployments.retriever.store import Store, tenant_database
from deployments.router.stage import RouterStage
from deployments.settings import Settings
from kit.errors import RateLimitError, UnavailableError, UpstreamError, UpstreamRefusedError
from kit.ids import uuid7
from kit.postgres import Databases
from kit.redis import redis_client
from serve_app.http.app import create_app

MODELS = ("echo", "down", "breaks", "truncated", "refuses", "slow", "crash", "limited", "org/echo")


class WordEmbedder:
    """A bag of hashed words: texts that share words are near each other."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        self.texts += texts
        found = [[*re.finditer(r"\w+", text)] for text in texts]
        words = [np.array([direction(m[0].lower()) for m in ms] or [direction("")], np.float32) for ms in found]
        sums = np.array([vectors.sum(axis=0) for vectors in words])
        sentences = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
        spans = [np.array([m.span() for m in ms] or [(0, 0)], np.int32) for ms in found]
        token_vectors = tuple(TokenVectors(v, s) for v, s in zip(words, spans, strict=True)) if tokens else ()
        return Embeddings(sentences, tuple(len(v) + 2 for v in words), token_vectors)


def direction(word: str) -> Any:
    vector = np.random.default_rng(list(word.encode()) or [0]).standard_normal(384).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


@dataclass
class ScriptedProvider:
    """Does as its model is called; `local` is the real one. `seen`: every request. `closed`: streams that ended."""

    local: ProviderCallerStage
    seen: list[ProviderRequest] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        self.seen.append(request)
        failure = None
        for target in request.targets:
            try:
                reply = await self.complete_one(replace(request, targets=(target,)), *target)
                return replace(reply, failure=failure)
            except WORTH_A_FALLBACK as error:
                if target == request.targets[-1]:
                    raise
                failure = failure or error.message
        raise AssertionError("no target")

    async def complete_one(self, request: ProviderRequest, provider: str, model: str) -> ProviderReply:
        if provider == "local":
            return await self.local.complete(request)
        self.fail_early(model)
        if model == "slow":
            await self.gate.wait()
        usage = Usage(10, 5, cost=2_500)
        return ProviderReply(completion(request, model), provider, model, usage)

    async def stream(self, request: ProviderRequest) -> AsyncIterator[StreamItem]:
        self.seen.append(request)
        failure = None
        for target in request.targets:
            try:
                async with contextlib.aclosing(self.stream_one(replace(request, targets=(target,)), *target)) as items:
                    async for item in items:
                        yield replace(item, failure=failure) if isinstance(item, StreamStart) else item
                return
            except WORTH_A_FALLBACK as error:
                if target == request.targets[-1] or target[1] == "breaks":
                    raise
                failure = failure or error.message

    async def stream_one(self, request: ProviderRequest, provider: str, model: str) -> AsyncIterator[StreamItem]:
        try:
            if provider == "local":
                async with contextlib.aclosing(self.local.stream(request)) as items:
                    async for item in items:
                        yield item
                return
            self.fail_early(model)
            yield StreamStart(provider, model)
            for word in ("one ", "two ", "three"):
                yield event(delta(model, {"content": word}))
                if model == "slow":
                    await self.gate.wait()
                if model == "breaks":
                    raise UpstreamError("The provider broke off its answer.")
            if model == "truncated":
                return
            yield event(delta(model, {}, "stop"))
            body = orjson.loads(request.body)
            if (body.get("stream_options") or {}).get("include_usage"):
                yield event({**delta(model, {}), "choices": [], "usage": USAGE})
            yield b"data: [DONE]\n\n"
            yield StreamEnd(True, Usage(10, 5, cost=2_500))
        finally:
            self.closed.append(model)

    def fail_early(self, model: str) -> None:
        match model:
            case "down":
                raise UnavailableError("The mock cannot be reached.", retry_after=3)
            case "refuses":
                raise UpstreamRefusedError("max_tokens is too large.", status=400)
            case "limited":
                raise RateLimitError("Slow down.", retry_after=7)
            case "crash":
                raise RuntimeError("secret-detail")


WORTH_A_FALLBACK = (UpstreamError, UnavailableError, RateLimitError)
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def completion(request: ProviderRequest, model: str) -> bytes:
    text = f"You asked: {request.question}" + (" [1]" if request.passages else "")
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    return orjson.dumps({**head, "choices": [choice], "usage": USAGE})


def delta(model: str, content: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return {**head, "choices": [{"index": 0, "delta": content, "finish_reason": finish}]}


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


class Server(uvicorn.Server):
    """Leaves the test run's signal handlers alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The app's base URL."""
    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on", access_log=False))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), task
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True  # does not wait for clients, but leaves the lifespan open
        await task
        await server.lifespan.shutdown()


@dataclass
class Api:
    """A running app and what stands behind it."""

    url: str
    key: str
    client: httpx.AsyncClient
    provider: ScriptedProvider
    embedder: WordEmbedder
    store: Store
    databases: Databases
    collection: str
    app: Any

    async def chat(self, model: str = "echo", question: str = "What is water?", **fields: Any) -> httpx.Response:
        messages = [{"role": "user", "content": question}]
        body = {"model": model, "messages": messages, **fields}
        return await self.client.post("/v1/chat/completions", json=body)

    async def write(self, source: str, text: str, subject: str | None = "physics") -> Any:
        """A document of one chunk in the collection; its id."""
        collection = await self.store.ensure_collection(self.collection)
        embeddings = await self.embedder.embed([text], tokens=True)
        vectors = np.round(embeddings.tokens[0].vectors * 127).astype(np.int8)

        async def chunks() -> AsyncIterator[NewChunk]:
            yield NewChunk(0, "Heading", text, len(text.split()), embeddings.sentences[0], vectors)

        document = NewDocument(source, source.title(), text.encode(), subject, "grade-8", {"pages": 3})
        await self.store.replace_document(collection.id, document, chunks())
        statement = "SELECT id FROM documents WHERE collection_id = $1 AND source = $2"
        return await self.databases.pool(tenant_database("default")).fetchval(statement, collection.id, source)


@contextlib.asynccontextmanager
async def running(services: Any, *, redis_url: str | None = None, **server: Any) -> AsyncIterator[Api]:
    """An app of its own with these server settings, on another Redis if one is given."""
    settings = Settings.model_validate({"log_level": "ERROR", "home": services.home.path, "server": server})
    databases, redis, embedder = (
        Databases(services.database_url, 10),
        redis_client(redis_url or services.redis_url),
        WordEmbedder(),
    )
    local = ProviderCallerStage(ProviderCallerConfig(), embedder)
    provider = ScriptedProvider(local)
    models = tuple(Model(id=id) for id in MODELS)
    router = RouterStage(settings.router, embedder, (ProviderState("mock", "Mock", True, "", models),))
    retriever = RetrieverStage(settings.retriever, databases)
    reranker = RerankerStage(settings.reranker, PostgresTokenVectors(databases))
    stages = Stages(embedder, retriever, reranker, router, provider, CacheStage(settings.cache, redis))
    app = create_app(settings, stages, databases, redis, cluster_metrics=metrics_text)
    store = Store(databases.pool(services.tenant_database))
    try:
        async with served(app) as url:
            headers = {"authorization": f"Bearer {services.api_key}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
                yield Api(url, services.api_key, client, provider, embedder, store, databases, f"c{uuid7().hex}", app)
    finally:
        await retriever.close()
        await redis.aclose()
        await databases.close()


async def metrics_text() -> bytes:
    return b"penstock_up 1\n"


@pytest.fixture(scope="session")
async def session_api(services: Any) -> AsyncIterator[Api]:
    async with running(services, max_body_bytes=100_000, cors_origins=["https://app.example"]) as api:
        yield api


@pytest.fixture
def api(session_api: Api) -> Api:
    """The shared app, with a collection name and a provider's memory of the test's own."""
    session_api.provider.seen.clear()
    session_api.provider.closed.clear()
    session_api.provider.gate = asyncio.Event()
    session_api.collection = f"c{uuid7().hex}"
    return session_api


@pytest.fixture
def run_api(services: Any) -> Any:
    """Starts an app with other server settings."""
    return functools.partial(running, services)
