from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.protocols import SearchQuery
from deployments.retriever.config import RetrieverConfig
from deployments.retriever.records import Collection, NewChunk, NewDocument
from deployments.retriever.stage import RetrieverStage
from deployments.retriever.store import Store
from kit.ids import uuid7
from kit.postgres import Databases


def direction(seed: str) -> NDArray[np.float32]:
    """A unit vector that belongs to a word: equal words, equal vectors."""
    vector = np.random.default_rng(list(seed.encode())).standard_normal(384).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


async def stream(chunks: Iterable[NewChunk]) -> AsyncIterator[NewChunk]:
    for chunk in chunks:
        yield chunk


@dataclass
class Library:
    """A collection of its own in the default tenant's database, and retrievers that search it."""

    databases: Databases
    store: Store
    collection: Collection
    stage: RetrieverStage

    async def write(self, source: str, *texts: str, subject: str | None = None, topic: str = "") -> UUID | None:
        """A document of one chunk a text; each chunk points where `topic` does, else where its text does."""
        chunks = [
            NewChunk(
                ordinal, source.title(), text, len(text.split()), direction(topic or text), np.ones((2, 384), np.int8)
            )
            for ordinal, text in enumerate(texts)
        ]
        document = NewDocument(source, source.title(), "|".join(texts).encode(), subject, "grade-8", {"pages": 3})
        if await self.store.replace_document(self.collection.id, document, stream(chunks)) is None:
            return None
        changes = await self.store.changes(self.collection.id, -1, vectors=False)
        assert changes is not None
        return next(row.id for row in changes.documents if row.source == source)

    def query(self, text: str, **fields: Any) -> SearchQuery:
        vector = direction(fields.pop("topic", text))
        return SearchQuery(
            **{"tenant": "default", "collection": self.collection.name, "text": text, "vector": vector} | fields
        )

    async def sources(self, text: str, **fields: Any) -> list[str]:
        return [passage.source for passage in (await self.stage.search(self.query(text, **fields))).passages]


@pytest.fixture
async def databases(services: Any) -> AsyncIterator[Databases]:
    databases = Databases(services.database_url, 10)
    yield databases
    await databases.close()


@pytest.fixture
async def library(services: Any, databases: Databases) -> AsyncIterator[Callable[..., Any]]:
    stages = []

    async def make(**config: Any) -> Library:
        store = Store(databases.pool(services.tenant_database))
        stage = RetrieverStage(RetrieverConfig(**config), databases)
        await stage.start()
        stages.append(stage)
        return Library(databases, store, await store.ensure_collection(f"c{uuid7().hex}"), stage)

    yield make
    for stage in stages:
        await stage.close()
