"""The reranker: late interaction over the token vectors that were stored when the passages were ingested."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from deployments.measure import measured
from deployments.protocols import Passage, RerankRequest, Vectors
from deployments.reranker.config import RerankerConfig
from deployments.reranker.late_interaction import Int8Vectors, max_similarity
from deployments.reranker.token_cache import TokenCache
from deployments.retriever.fusion import convex, min_max, top_k

INLINE_PRODUCTS = 10_000
"""Question tokens times passage tokens that are compared on the event loop (under 1 ms); more goes to a thread."""


class TokenVectorSource(Protocol):
    """Where the passages' token vectors come from."""

    async def load(self, tenant: str, chunk_ids: Sequence[UUID]) -> list[Int8Vectors]:
        """int8 [t, d] for each chunk, in order; empty [0, d] for a chunk that is gone or has none."""
        ...


class RerankerStage:
    """Puts passages in their final order. Holds the vectors of recently seen passages in memory."""

    def __init__(self, config: RerankerConfig, token_vectors: TokenVectorSource) -> None:
        self._config = config
        self._source = token_vectors
        self._cache = TokenCache(config.memory_mb * 1_000_000)

    async def start(self) -> None:
        """Nothing to set up: vectors are read when they are first needed."""

    async def close(self) -> None:
        """Let go of the vectors."""
        self._cache = TokenCache(self._config.memory_mb * 1_000_000)

    @measured("reranker")
    async def rerank(self, request: RerankRequest) -> tuple[Passage, ...]:
        """The k best passages, best first; `score` is then comparable within this answer only.

        The order stays as it was where there is nothing to compare: reranking is off, or the question has no token
        vectors (its embedding came from a provider).
        """
        passages = request.passages[: max(self._config.candidates, request.k)]
        if not self._config.enabled or not len(request.tokens) or len(passages) < 2:
            return passages[: max(request.k, 0)]
        vectors = await self._vectors(request.tenant, [passage.chunk_id for passage in passages])
        late = await _compare(request.tokens, vectors)
        fused = np.array([passage.score for passage in passages], dtype=np.float32)
        scores = convex(_filled(late, fused), fused, self._config.weight)
        return tuple(
            _rescored(passages[position], float(scores[position]), float(late[position]))
            for position in top_k(scores, request.k).tolist()
        )

    async def _vectors(self, tenant: str, chunk_ids: Sequence[UUID]) -> list[Int8Vectors]:
        found = {chunk_id: self._cache.get((tenant, chunk_id)) for chunk_id in chunk_ids}
        missing = [chunk_id for chunk_id, vectors in found.items() if vectors is None]
        if missing:
            for chunk_id, loaded in zip(missing, await self._source.load(tenant, missing), strict=True):
                found[chunk_id] = loaded
                if len(loaded):  # An absent row may be one that this reader's snapshot does not show yet.
                    self._cache.put((tenant, chunk_id), loaded)
        return [vectors for chunk_id in chunk_ids if (vectors := found[chunk_id]) is not None]


async def _compare(question: Vectors, passages: list[Int8Vectors]) -> NDArray[np.float32]:
    if len(question) * sum(map(len, passages)) <= INLINE_PRODUCTS:
        return max_similarity(question, passages)
    return await asyncio.to_thread(max_similarity, question, passages)


def _filled(late: NDArray[np.float32], fused: NDArray[np.float32]) -> NDArray[np.float32]:
    """A passage without token vectors is judged by its fused score alone: it gets the same place on both scales."""
    known = ~np.isnan(late)
    if known.all() or not known.any():
        return np.nan_to_num(late)
    low, high = late[known].min(), late[known].max()
    return np.where(known, late, low + min_max(fused) * (high - low)).astype(np.float32)


def _rescored(passage: Passage, score: float, late: float) -> Passage:
    parts = {} if np.isnan(late) else {"late_interaction": late}
    return replace(passage, score=score, scores={**passage.scores, **parts})
