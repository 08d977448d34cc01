from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from deployments.reranker.source import PostgresTokenVectors
from deployments.retriever.records import NewChunk, NewDocument
from deployments.retriever.store import Store
from kit.ids import uuid7
from kit.postgres import Databases


@pytest.fixture
async def databases(services: Any) -> AsyncIterator[Databases]:
    databases = Databases(services.database_url, 4)
    yield databases
    await databases.close()


async def test_token_vectors_come_back_in_the_order_asked_for_and_empty_for_a_chunk_that_is_gone(
    services: Any, databases: Databases
) -> None:
    store = Store(databases.pool(services.tenant_database))
    collection = await store.ensure_collection(f"c{uuid7().hex}")
    written = [np.random.default_rng(n).integers(-127, 128, (n + 1, 384), dtype=np.int8) for n in range(3)]

    async def chunks() -> AsyncIterator[NewChunk]:
        for ordinal, tokens in enumerate(written):
            yield NewChunk(ordinal, "Rust", f"Text {ordinal}.", 2, np.full(384, 384**-0.5, np.float32), tokens)

    await store.replace_document(collection.id, NewDocument("rust.md", "Rust", b"1", None, None, {}), chunks())
    rows = await databases.pool(services.tenant_database).fetch(
        "SELECT id FROM chunks WHERE collection_id = $1 ORDER BY ordinal DESC", collection.id
    )
    found = await PostgresTokenVectors(databases).load("default", [*(row["id"] for row in rows), uuid7()])
    assert [len(vectors) for vectors in found] == [3, 2, 1, 0]
    for vectors, expected in zip(found, reversed(written), strict=False):
        np.testing.assert_array_equal(vectors, expected)
