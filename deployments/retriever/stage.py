"""The retriever: hybrid search over a tenant's collections.

1. Ask Postgres for the collection's version (one cheap query); bring the snapshot up to it. So a committed document is
   found by the next search.
2. The best candidates by vector and the best by BM25, among what the filters leave; both scores of each; fuse them.
3. Fetch the texts from Postgres last: one that was deleted meanwhile is not there, and the next takes its place.
"""

import asyncio
from uuid import UUID

import asyncpg
import numpy as np

from deployments.measure import measured
from deployments.protocols import Passage, SearchQuery, SearchResult
from deployments.retriever.collections import HeldCollections
from deployments.retriever.config import RetrieverConfig
from deployments.retriever.fusion import Scores, convex, rrf, top_k, union
from deployments.retriever.index import INLINE_ROWS, MemoryVectors, PostgresVectors, VectorIndex
from deployments.retriever.records import Collection, PassageRow
from deployments.retriever.snapshot import Snapshot
from deployments.retriever.store import DIMENSIONS, Store, tenant_database
from deployments.retriever.table import Rows, check_filters
from kit.errors import NotFoundError, ValidationError
from kit.postgres import Databases

MAX_K = 1000


class RetrieverStage:
    """Finds passages in a collection."""

    def __init__(self, config: RetrieverConfig, databases: Databases) -> None:
        self._config = config
        self._databases = databases
        self._held = HeldCollections(config.memory_mb << 20, vectors=config.vectors == "memory")

    async def start(self) -> None:
        """Nothing to wait for: a collection is loaded when it is first searched."""

    async def close(self) -> None:
        """Let go of all collections."""
        await self._held.close()

    @property
    def loaded(self) -> tuple[tuple[str, str], ...]:
        """Tenant and name of each collection in memory, least recently used first."""
        return self._held.loaded

    @measured("retriever")
    async def search(self, query: SearchQuery) -> SearchResult:
        """Hybrid search.

        Raises ValidationError for an empty text, k outside 1..1000 or an unknown filter, NotFoundError (listing the
        collections) for an unknown collection, UnavailableError when Postgres is lost.
        """
        _check(query)
        store = Store(self._databases.pool(tenant_database(query.tenant)))
        collection = await _collection(store, query)
        snapshot = await self._held.snapshot(query.tenant, store, collection)
        if snapshot is None:
            raise await _no_collection(store, query.collection)
        rows, scores = await self._candidates(store, snapshot, query, collection.dense_weight)
        passages = await _passages(store, snapshot, rows, scores, query.k)
        return SearchResult(passages, snapshot.collection.id, snapshot.collection.version)

    async def _candidates(
        self, store: Store, snapshot: Snapshot, query: SearchQuery, dense_weight: float
    ) -> tuple[Rows, dict[str, Scores]]:
        """Rows in their order, best first, and each score by name in the same order."""
        among = snapshot.table.matching(query.filters)
        if len(snapshot.table) == 0 or (among is not None and len(among) == 0):
            return np.empty(0, dtype=np.intp), {}
        limit = max(self._config.candidates, query.k)
        vectors = self._vectors(store, snapshot)
        dense_order, all_lexical = await asyncio.gather(
            vectors.top(query.vector, limit, among), _lexical(snapshot, query.text)
        )
        lexical_order = _best_lexical(all_lexical, limit, among)
        rows = union(dense_order, lexical_order)
        dense, lexical = await vectors.scores(query.vector, rows), all_lexical[rows]
        if self._config.fusion == "convex":
            fused = convex(dense, lexical, dense_weight)
        else:
            sums = rrf(dense_order, lexical_order)
            fused = np.array([sums[int(row)] for row in rows], dtype=np.float32)
        order = top_k(fused, len(fused))
        return rows[order], {"dense": dense[order], "lexical": lexical[order], "fused": fused[order]}

    def _vectors(self, store: Store, snapshot: Snapshot) -> VectorIndex:
        if self._config.vectors == "memory":
            return MemoryVectors(snapshot.matrix)
        return PostgresVectors(store, snapshot.collection.id, snapshot.table)


def _check(query: SearchQuery) -> None:
    if not query.text.strip():
        raise ValidationError("The query is empty.", details={"query": ["Must contain text."]})
    if not 1 <= query.k <= MAX_K:
        raise ValidationError(f"k is {query.k}.", details={"k": [f"Must be from 1 to {MAX_K}."]})
    if query.vector.shape != (DIMENSIONS,):
        raise ValidationError(
            f"The query's vector has the shape {query.vector.shape}.",
            details={"vector": [f"Must be float32 [{DIMENSIONS}]."]},
        )
    check_filters(query.filters)


async def _collection(store: Store, query: SearchQuery) -> Collection:
    try:
        collection = await store.collection(query.collection)
    except asyncpg.InvalidCatalogNameError as error:
        raise NotFoundError(f"There is no tenant {query.tenant!r}.") from error
    if collection is None:
        raise await _no_collection(store, query.collection)
    return collection


async def _no_collection(store: Store, name: str) -> NotFoundError:
    names = await store.collection_names()
    known = f"Collections: {', '.join(names)}." if names else "There are no collections yet."
    return NotFoundError(f"There is no collection {name!r}. {known}", details={"collection": [known]})


async def _lexical(snapshot: Snapshot, text: str) -> Scores:
    if len(snapshot.table) <= INLINE_ROWS:
        return snapshot.lexical.scores(text)
    return await asyncio.to_thread(snapshot.lexical.scores, text)


def _best_lexical(scores: Scores, limit: int, among: Rows | None) -> Rows:
    """The best rows that share a word with the query."""
    order = top_k(scores, limit) if among is None else among[top_k(scores[among], limit)]
    found: Rows = order[scores[order] > 0]
    return found


async def _passages(
    store: Store, snapshot: Snapshot, rows: Rows, scores: dict[str, Scores], k: int
) -> tuple[Passage, ...]:
    """The first k that still exist."""
    passages: list[Passage] = []
    at = 0
    while len(passages) < k and at < len(rows):
        batch = range(at, min(at + k - len(passages), len(rows)))
        chunk_ids = [snapshot.table.chunk_ids[rows[position]] for position in batch]
        found = await store.passages(chunk_ids)
        passages += [
            _passage(found[chunk_id], {name: float(values[position]) for name, values in scores.items()})
            for chunk_id, position in zip(chunk_ids, batch, strict=True)
            if chunk_id in found
        ]
        at = batch.stop
    return tuple(passages)


def _passage(row: PassageRow, scores: dict[str, float]) -> Passage:
    return Passage(
        # Plain UUIDs: asyncpg's own kind is unknown to JSON encoders and to processes without asyncpg.
        chunk_id=UUID(int=row.chunk_id.int),
        document_id=UUID(int=row.document_id.int),
        document=row.title,
        source=row.source,
        heading=row.heading,
        text=row.text,
        score=scores["fused"],
        scores=scores,
        subject=row.subject,
        class_level=row.class_level,
    )
