"""The whole app under a real uvicorn, on real Postgres and Redis, with a provider that does as its model is called."""

import asyncio
import contextlib
import functools
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from deployments.cache.stage import CacheStage
from deployments.protocols import Embeddings, Stages, TokenVectors
from deployments.provider_caller.catalogue import Model, ProviderState
from deployments.provider_caller.local import LocalProvider
from deployments.provider_caller.local_client import LocalClient
from deployments.reranker.source import PostgresTokenVectors
from deployments.reranker.stage import RerankerStage
from deployments.retriever.records import NewChunk, NewDocument
from deployments.retriever.stage import RetrieverStage
from deployments.retriever.store import Store, tenant_database
from deployments.router.stage import RouterStage
from deployments.settings import Settings
from kit.ids import uuid7
from kit.postgres import Databases
from kit.redis import redis_client
from serve_app.http.app import create_app
from tests.serve_app.scripted_provider import MODELS, ScriptedProvider


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
    router: RouterStage
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
    provider = ScriptedProvider(LocalClient(LocalProvider(embedder)))
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
                yield Api(
                    url, services.api_key, client, provider, embedder, router, store, databases, f"c{uuid7().hex}", app
                )
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
