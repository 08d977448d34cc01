"""The dense side of a search. Both kinds are exact; immutable segments will be a third."""

import asyncio
from typing import Protocol
from uuid import UUID

import numpy as np

from deployments.protocols import Vectors
from deployments.retriever.fusion import Scores, top_k
from deployments.retriever.store import Store
from deployments.retriever.table import ChunkTable, Rows

INLINE_ROWS = 10_000
"""Up to so many rows a scan takes less (about 0.5 ms) than is worth a thread."""


class VectorIndex(Protocol):
    """Finds rows of a snapshot by inner product with a vector, float32 [d], L2-normalised."""

    async def top(self, vector: Vectors, limit: int, among: Rows | None) -> Rows:
        """The `limit` best rows, best first; of `among` (ascending) only, if given."""
        ...

    async def scores(self, vector: Vectors, rows: Rows) -> Scores:
        """Inner product of each of these rows, float32 [len(rows)]."""
        ...


class MemoryVectors:
    """A matrix in memory. matrix: float32 [n, d]."""

    def __init__(self, matrix: Vectors) -> None:
        self._matrix = matrix

    async def top(self, vector: Vectors, limit: int, among: Rows | None) -> Rows:
        """See VectorIndex."""
        if (len(self._matrix) if among is None else len(among)) <= INLINE_ROWS:
            return self._top(vector, limit, among)
        return await asyncio.to_thread(self._top, vector, limit, among)

    def _top(self, vector: Vectors, limit: int, among: Rows | None) -> Rows:
        if among is None:
            return top_k(self._matrix @ vector, limit)
        found: Rows = among[top_k(self._matrix[among] @ vector, limit)]
        return found

    async def scores(self, vector: Vectors, rows: Rows) -> Scores:
        """See VectorIndex."""
        products: Scores = self._matrix[rows] @ vector
        return products


class PostgresVectors:
    """pgvector's exact scan, for collections whose vectors should not be held in memory."""

    def __init__(self, store: Store, collection: UUID, table: ChunkTable) -> None:
        self._store = store
        self._collection = collection
        self._table = table

    async def top(self, vector: Vectors, limit: int, among: Rows | None) -> Rows:
        """See VectorIndex. Chunks that were committed after the snapshot are left out."""
        documents = None if among is None else self._table.documents_of(among)
        nearest = await self._store.nearest(self._collection, vector, limit, documents)
        row_of = self._table.row_of
        return np.array([row_of[chunk_id] for chunk_id, _ in nearest if chunk_id in row_of], dtype=np.intp)

    async def scores(self, vector: Vectors, rows: Rows) -> Scores:
        """See VectorIndex. A chunk that was deleted after the snapshot scores -1, the least there is."""
        chunk_ids = [self._table.chunk_ids[row] for row in rows]
        similarities = await self._store.similarities(chunk_ids, vector)
        return np.array([similarities.get(chunk_id, -1.0) for chunk_id in chunk_ids], dtype=np.float32)
