"""Finds passages and documents of a tenant."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import numpy as np

from deployments.protocols import (
    Embedder,
    Embeddings,
    Passage,
    Reranker,
    RerankRequest,
    Retriever,
    SearchQuery,
    SearchResult,
)
from deployments.retriever.records import CollectionSummary
from deployments.retriever.store import Store, tenant_database
from kit.errors import NotFoundError
from kit.postgres import Databases
from serve_app.context.repository import DocumentRepository
from serve_app.context.schemas import Document

_NO_TOKENS = np.empty((0, 0), dtype=np.float32)
"""Embeddings of a provider have no token vectors; the reranker then keeps the order."""


class ContextService:
    """Collections, documents and search."""

    def __init__(
        self,
        databases: Databases,
        *,
        embedder: Embedder,
        retriever: Retriever,
        reranker: Reranker | None,
        candidates: int,
    ) -> None:
        """reranker: None where reranking is switched off. candidates: passages that it sees."""
        self._databases = databases
        self._documents = DocumentRepository(databases)
        self._embedder = embedder
        self._retriever = retriever
        self._reranker = reranker
        self._candidates = candidates

    async def collections(self, tenant: str) -> list[str]:
        """Names of the tenant's collections."""
        return await self._store(tenant).collection_names()

    async def contents(self, tenant: str) -> list[CollectionSummary]:
        """The tenant's collections and how much is in them."""
        return await self._store(tenant).collections()

    async def revision(self, tenant: str, collection: str) -> str:
        """The present id and version, as `SearchResult.revision`. Raises NotFoundError that lists the collections."""
        found = await self._store(tenant).collection(collection)
        if found is None:
            raise await self.unknown(tenant, collection)
        return f"{found.id}:{found.version}"

    async def unknown(self, tenant: str, collection: str) -> NotFoundError:
        """The error for a collection that the tenant does not have."""
        names = ", ".join(await self.collections(tenant)) or "none yet"
        return NotFoundError(
            f"There is no collection {collection!r}. Collections: {names}.",
            details={"collection": [f"must be one of: {names}"]},
        )

    async def document(self, tenant: str, document_id: str) -> Document:
        """A document by its id. Raises NotFoundError."""
        try:
            document = await self._documents.document(tenant, UUID(document_id))
        except ValueError:
            document = None
        if document is None:
            raise NotFoundError("There is no document with this id.", details={"id": ["must be the id of a document"]})
        return document

    async def embed(self, question: str) -> Embeddings:
        """The question's sentence vector and token vectors, from one pass."""
        return await self._embedder.embed([question], tokens=True)

    async def find(
        self,
        tenant: str,
        collection: str,
        question: str,
        embeddings: Embeddings,
        *,
        k: int,
        filters: Mapping[str, str] | None = None,
        rerank: bool = True,
    ) -> SearchResult:
        """The k best passages, best first. Raises NotFoundError for an unknown collection."""
        reranker = self._reranker if rerank else None
        query = SearchQuery(
            tenant=tenant,
            collection=collection,
            text=question,
            vector=embeddings.sentences[0],
            k=k if reranker is None else max(k, self._candidates),
            filters=filters or {},
        )
        result = await self._retriever.search(query)
        if reranker is None or not result.passages:
            return result
        tokens = embeddings.tokens[0].vectors if embeddings.tokens else _NO_TOKENS
        passages: tuple[Passage, ...] = await reranker.rerank(
            RerankRequest(tenant, question, tokens, result.passages, k)
        )
        return replace(result, passages=passages)

    def _store(self, tenant: str) -> Store:
        return Store(self._databases.pool(tenant_database(tenant)))
