"""What every stage offers. Callers hold one of these Protocols and cannot tell where the stage runs.

Data that crosses a process is a frozen dataclass here, so that both sides import the same definition.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""float32 [n, d], rows L2-normalised unless said otherwise."""


# --- embedder ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The per-token outputs of one text, from the same forward pass as its sentence vector.

    vectors: float32 [t, d], rows L2-normalised, [CLS] and [SEP] left out.
    offsets: int32 [t, 2], character span of each token in the text.
    """

    vectors: Vectors
    offsets: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """sentences: float32 [n, d], L2-normalised; tokens: one per text when asked for, else empty;
    token_counts: word pieces of each text as the model saw it, special tokens included."""

    sentences: Vectors
    token_counts: tuple[int, ...]
    tokens: tuple[TokenVectors, ...] = ()


class Embedder(Protocol):
    """Text to vectors."""

    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        """Embed texts in order. Texts longer than the model's window are cut at its end."""
        ...


# --- retriever --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """vector: float32 [d], L2-normalised, of `text`. Filters match exactly; an empty one matches everything."""

    tenant: str
    collection: str
    text: str
    vector: Vectors
    k: int = 10
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that was found. `scores` names each part of `score` (dense, lexical, fused, late_interaction)."""

    chunk_id: UUID
    document_id: UUID
    document: str
    """The document's title."""
    source: str
    """Where the document came from: its path as ingested."""
    heading: str
    text: str
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    subject: str | None = None
    class_level: str | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """passages: best first, of this version of the collection."""

    passages: tuple[Passage, ...]
    collection_id: UUID
    version: int

    @property
    def revision(self) -> str:
        """Names what was searched for good: a collection that is made anew under its old name has another id."""
        return f"{self.collection_id}:{self.version}"


class Retriever(Protocol):
    """Finds passages in a collection."""

    async def search(self, query: SearchQuery) -> SearchResult:
        """Hybrid search. Raises NotFoundError for an unknown collection."""
        ...


# --- reranker ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """tokens: the question's token vectors, float32 [t, d]. k: how many passages to return."""

    tenant: str
    question: str
    tokens: Vectors
    passages: tuple[Passage, ...]
    k: int


class Reranker(Protocol):
    """Puts passages in their final order."""

    async def rerank(self, request: RerankRequest) -> tuple[Passage, ...]:
        """The k best passages, best first, `scores` completed with the reranker's own."""
        ...


# --- router -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """`model` is what the caller asked for: a model id, `auto` or `auto:POLICY`. vector: float32 [d] of the question,
    None where the caller has none (the router then decides by its rules alone)."""

    tenant: str
    model: str
    question: str
    vector: Vectors | None = None
    grounded: bool = False
    """Whether passages will be given to the model; the `local` provider needs them."""
    operation: str | None = None
    """The operation type where the caller states it; None: the router finds it."""


@dataclass(frozen=True, slots=True)
class Route:
    """operation: the operation type (reasoning, code, research, factual, practice, curriculum, diagnostic, chat).
    `reason` is one sentence for people; `fallbacks` are (provider, model) pairs in order."""

    provider: str
    model: str
    operation: str
    reason: str
    fallbacks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that a caller may name. Prices are nano-dollars per token, None where unknown."""

    id: str
    provider: str
    context_window: int | None
    input_price: int | None
    output_price: int | None
    available: bool
    created: int = 0


class Router(Protocol):
    """Chooses the operation type and the model."""

    async def route(self, request: RouteRequest) -> Route:
        """Raises NotFoundError (listing the models) for an unknown model, UnavailableError when nothing can serve."""
        ...

    async def models(self, tenant: str) -> tuple[ModelInfo, ...]:
        """Every model the tenant may name, available or not."""
        ...


# --- provider caller --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """body: the OpenAI chat-completions request as the caller sent it, JSON bytes with `model` set to the routed one.

    `passages` and `question` are what the `local` provider answers from; other providers get them in the prompt.
    timeout: seconds that are left of the caller's deadline.
    """

    tenant: str
    provider: str
    model: str
    body: bytes
    request_id: str
    timeout: float
    question: str = ""
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the provider states them; cost in nano-dollars, None where a price is unknown."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class ProviderReply:
    """body: a complete OpenAI chat completion, JSON bytes as the provider sent them."""

    status: int
    body: bytes
    provider: str
    model: str
    usage: Usage | None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class StreamStart:
    """First item of every stream: who answers. Only bytes follow: whole server-sent events in OpenAI's dialect."""

    provider: str
    model: str
    status: int = 200


class ProviderCaller(Protocol):
    """Gets the answer from a provider."""

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        """One whole answer. Raises UpstreamError, UnavailableError, DeadlineError, or the provider's refusal."""
        ...

    def stream(self, request: ProviderRequest) -> AsyncIterator[StreamStart | bytes]:
        """A StreamStart, then server-sent events as bytes, every ready one in one item, ending with `[DONE]`.

        An error before the first byte is raised; after it the stream carries an error event and no `[DONE]`.
        Closing the iterator ends the upstream call.
        """
        ...


# --- cache ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CacheKey:
    """All that shapes an answer, hashed. `operation` chooses the time to live."""

    tenant: str
    digest: str


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """body: the JSON that was answered. `metadata` goes back to the caller as it was stored."""

    body: bytes
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Cache(Protocol):
    """Keeps answers."""

    async def get(self, key: CacheKey) -> CachedAnswer | None:
        """The stored answer, or None. A lost Redis is a miss."""
        ...

    async def put(self, key: CacheKey, answer: CachedAnswer, *, operation: str) -> bool:
        """Store for the operation's time to live. False when admission refuses it or Redis is lost."""
        ...


# --- the graph --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages that the ingress calls, wherever they run."""

    embedder: Embedder
    retriever: Retriever
    reranker: Reranker
    router: Router
    provider_caller: ProviderCaller
    cache: Cache
