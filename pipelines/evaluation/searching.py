"""One question through embedding, retrieval, fusion and reranking, in this process, with the stages' own parts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from deployments.protocols import Embeddings, Passage, RerankRequest
from deployments.reranker.config import RerankerConfig
from deployments.reranker.late_interaction import Int8Vectors
from deployments.reranker.stage import RerankerStage
from deployments.retriever.bm25 import Bm25Index
from deployments.retriever.config import RetrieverConfig
from deployments.retriever.fusion import Order, Scores, convex, top_k, union
from deployments.retriever.indexed_text import indexed_text
from pipelines.evaluation.dataset import Dataset
from pipelines.evaluation.vectors import CachedEmbedder

DEPTH = 100
"""Documents that each method returns."""

METHODS = ("bm25", "dense", "hybrid", "reranked")


@dataclass(slots=True)
class Timings:
    """Seconds of each step, one entry for each time it ran."""

    steps: dict[str, list[float]] = field(default_factory=dict)

    def add(self, step: str, started: float) -> float:
        """Record a step that began at `started`; the present time, where the next one begins."""
        now = time.perf_counter()
        self.steps.setdefault(step, []).append(now - started)
        return now


class CorpusTokens:
    """A TokenVectorSource over the cached embeddings; a chunk's id is its position."""

    def __init__(self, vectors: CachedEmbedder, texts: Sequence[str]) -> None:
        self._vectors = vectors
        self._texts = texts

    async def load(self, tenant: str, chunk_ids: Sequence[UUID]) -> list[Int8Vectors]:
        """int8 [t, 384] for each chunk, in order."""
        return self._vectors.passage_tokens([self._texts[chunk_id.int] for chunk_id in chunk_ids])


class Searcher:
    """Searches a data set's corpus: one chunk per document, as `indexed_text` makes it, cut at the model's window."""

    def __init__(self, dataset: Dataset, texts: Sequence[str], vectors: CachedEmbedder) -> None:
        """texts: of the corpus, already embedded as passages."""
        self._corpus = dataset.corpus
        self._dense = vectors.passages(texts)
        self._lexical = Bm25Index.build(texts)
        self._config = RetrieverConfig()
        self._reranker = RerankerStage(RerankerConfig(), CorpusTokens(vectors, texts))

    async def search(self, question: str, embeddings: Embeddings, timings: Timings) -> dict[str, list[Passage]]:
        """The first DEPTH passages of each of METHODS, best first. embeddings: of the question, with tokens."""
        now = time.perf_counter()
        dense: Scores = self._dense @ embeddings.sentences[0]
        dense_order = top_k(dense, DEPTH)
        now = timings.add("dense search", now)
        lexical = self._lexical.scores(question)
        lexical_order = top_k(lexical, DEPTH)
        now = timings.add("BM25", now)
        found = union(dense_order[: self._config.candidates], lexical_order[: self._config.candidates])
        fused = convex(dense[found], lexical[found], self._config.dense_weight)
        order = top_k(fused, DEPTH)
        hybrid = [
            self._passage(position, fused[place], dense[position], lexical[position])
            for place, position in zip(order, found[order], strict=True)
        ]
        now = timings.add("fusion", now)
        reranked = await self._rerank(question, embeddings, hybrid)
        timings.add("reranking", now)
        return {
            "bm25": self._passages(lexical_order, lexical),
            "dense": self._passages(dense_order, dense),
            "hybrid": hybrid,
            "reranked": reranked,
        }

    async def _rerank(self, question: str, embeddings: Embeddings, hybrid: list[Passage]) -> list[Passage]:
        candidates = RerankerConfig().candidates
        request = RerankRequest("", question, embeddings.tokens[0].vectors, tuple(hybrid[:candidates]), candidates)
        return [*await self._reranker.rerank(request), *hybrid[candidates:]]

    def _passages(self, order: Order, scores: Scores) -> list[Passage]:
        return [self._passage(position, scores[position]) for position in order]

    def _passage(self, position: int, score: float, dense: float = 0.0, lexical: float = 0.0) -> Passage:
        document = self._corpus[position]
        identity = UUID(int=int(position))
        scores = {"fused": float(score), "dense": float(dense), "lexical": float(lexical)}
        return Passage(
            identity, identity, document.title, document.id, document.title, document.text, float(score), scores
        )


def corpus_texts(dataset: Dataset) -> list[str]:
    """What is indexed of each document."""
    return [indexed_text(document.title, document.text) for document in dataset.corpus]


def document_ids(passages: Sequence[Passage]) -> list[str]:
    """The data set's ids of the passages' documents."""
    return [passage.source for passage in passages]
