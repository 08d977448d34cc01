"""What every stage offers. Callers hold one of these Protocols and cannot tell where the stage runs.

Data that crosses a process is a frozen dataclass here, so that both sides import the same definition.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""float32 [n, d], rows L2-normalised unless said otherwise."""


class Crossing:
    """Base of dataclasses that cross processes with every call: they are rebuilt from their fields in order.

    A dataclass with slots would be pickled field by field through `dataclasses.fields`, which costs ten times as much.
    """

    __slots__: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), tuple(getattr(self, name) for name in self.__slots__)


# --- embedder ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokenVectors(Crossing):
    """The per-token outputs of one text, from the same forward pass as its sentence vector.

    vectors: float32 [t, d], rows L2-normalised, [CLS] and [SEP] left out.
    offsets: int32 [t, 2], character span of each token in the text.
    """

    vectors: Vectors
    offsets: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Embeddings(Crossing):
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
class SearchQuery(Crossing):
    """vector: float32 [d], L2-normalised, of `text`. Filters match exactly; an empty one matches everything."""

    tenant: str
    collection: str
    text: str
    vector: Vectors
    k: int = 10
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage(Crossing):
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
class SearchResult(Crossing):
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
class RerankRequest(Crossing):
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
class Account(Crossing):
    """Whom a call is charged to and limited by. `tenant` is the slug; the others are opaque ids."""

    tenant: str
    user_id: str = ""
    key_id: str = ""
    agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class RouteRequest(Crossing):
    """`model` is what the caller asked for: a model id, `auto` or `auto:POLICY`. vector: float32 [d] of the question,
    None where the caller has none (the router then decides by its rules alone)."""

    account: Account
    model: str
    question: str
    vector: Vectors | None = None
    grounded: bool = False
    """Whether passages will be given to the model; the `local` provider needs them."""
    operation: str | None = None
    """The operation type where the caller states it; None: the router finds it."""


@dataclass(frozen=True, slots=True)
class Assignment(Crossing):
    """The arm of a running A/B experiment that a call belongs to."""

    experiment: str
    arm: str


@dataclass(frozen=True, slots=True)
class Route(Crossing):
    """operation: the operation type (reasoning, code, research, factual, practice, curriculum, diagnostic, chat).
    `reason` is one sentence for people; `fallbacks` are (provider, model) pairs in order, none for a tenant whose
    failover is manual."""

    provider: str
    model: str
    operation: str
    reason: str
    fallbacks: tuple[tuple[str, str], ...] = ()
    assignment: Assignment | None = None
    instruction: str | None = None
    """A system prompt that the operation type asks for (a generator of exercises), None for most."""

    @property
    def targets(self) -> tuple[tuple[str, str], ...]:
        """(provider, model) pairs to try, in order."""
        return ((self.provider, self.model), *self.fallbacks)


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


class RouterInProcess(Router, Protocol):
    """The router as its callers hold it: it also answers what needs no hop."""

    def needs_vector(self, request: RouteRequest) -> bool:
        """Whether the question's sentence vector would help to route it."""
        ...

    def variant(self, account: Account) -> str:
        """Names what `auto` means for a caller now: policy, tenant's settings, usable models, arms of experiments. An
        answer that was kept under another variant is not this caller's."""
        ...


# --- provider caller --------------------------------------------------------------------------------------------


Dialect = Literal["openai_chat", "openai_responses", "anthropic_messages"]
"""The shape of a request and of its answer: OpenAI's chat completions, OpenAI's responses, Anthropic's messages."""


@dataclass(frozen=True, slots=True)
class ProviderRequest(Crossing):
    """targets: (provider, model) pairs to try in order: the routed one, then its fallbacks.

    body: the request in the caller's dialect, JSON bytes; its `model` is replaced by the target's. `passages` and
    `question` are what the `local` provider answers from; other providers get them in the prompt. timeout: seconds
    that are left of the caller's deadline. `operation`, `reason` and `assignment` are the route's, for the ledger.
    """

    account: Account
    targets: tuple[tuple[str, str], ...]
    dialect: Dialect
    body: bytes
    request_id: str
    timeout: float
    operation: str
    reason: str = ""
    assignment: Assignment | None = None
    question: str = ""
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage(Crossing):
    """Token counts; `input_tokens` include those read from and written to the provider's cache, `output_tokens` those
    of its reasoning. cost: nano-dollars, None where a price is unknown. estimated: the provider did not say."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_long_tokens: int = 0
    """Of `cache_write_tokens`, those that the provider keeps for its long time, which costs more."""
    cost: int | None = None
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class ProviderReply(Crossing):
    """body: a complete answer in the caller's dialect. usage: of all attempts together. failure: what went wrong with
    the routed target where a fallback answered. limits: `x-ratelimit-*` headers: what is left of the
    caller's."""

    body: bytes
    provider: str
    model: str
    usage: Usage | None
    failure: str | None = None
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamStart(Crossing):
    """First item of every stream: who answers. Then come bytes: whole server-sent events in the caller's dialect."""

    provider: str
    model: str
    failure: str | None = None
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamEnd(Crossing):
    """Last item of every stream. complete: whether the provider ended it well; if not, the bytes before end with an
    error event. usage: of all attempts together."""

    complete: bool
    usage: Usage | None


StreamItem = StreamStart | bytes | StreamEnd


@dataclass(frozen=True, slots=True)
class CallerHealth:
    """What does not work in full, each with a sentence for people. providers: by id, those that have been failing."""

    limits: str | None = None
    ledger: str | None = None
    providers: Mapping[str, str] = field(default_factory=dict)


class ProviderCaller(Protocol):
    """Gets the answer from a provider."""

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        """One whole answer. Raises UpstreamError, UnavailableError, DeadlineError, RateLimitError (also for a spent
        budget), or the provider's refusal; all attempts are accounted before it returns."""
        ...

    def stream(self, request: ProviderRequest) -> AsyncIterator[StreamItem]:
        """A StreamStart, then server-sent events as bytes, every ready one in one item, then a StreamEnd.

        An error before the first byte is raised; after it the stream carries an error event and no clean end.
        Closing the iterator ends the upstream call, and what was used is accounted.
        """
        ...

    async def health(self) -> CallerHealth:
        """How one replica finds its money and its providers."""
        ...


# --- cache ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CacheKey(Crossing):
    """All that shapes an answer, hashed. `operation` chooses the time to live."""

    tenant: str
    digest: str


@dataclass(frozen=True, slots=True)
class CachedAnswer(Crossing):
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
    router: RouterInProcess
    provider_caller: ProviderCaller
    cache: Cache
