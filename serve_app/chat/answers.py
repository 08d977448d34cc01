"""What goes into the chat service and what comes out of it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from uuid import UUID

from deployments.protocols import Account, CachedAnswer, Passage, Route
from serve_app.chat.dialects.request import DialectRequest
from serve_app.http.context import RequestContext
from serve_app.http.responses import header_text

PASSAGES = 5
NANO = 1_000_000_000
QUESTION_CHARACTERS = 20_000
"""Of a question that are embedded, routed by and searched with; the provider gets all of it."""

CacheState = Literal["hit", "miss", "off"]


@dataclass(slots=True)
class Ask:
    """A chat request on its way. `model` and `collection` are resolved by the service. k: passages for the prompt."""

    request: RequestContext
    chat: DialectRequest
    account: Account
    model: str
    question: str
    collection: str | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    k: int = PASSAGES
    operation: str | None = None
    """The operation type where the caller states it."""

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.account.tenant


def ask_for(request: RequestContext, chat: DialectRequest) -> Ask:
    """The start of a question's way."""
    return Ask(request, chat, request.caller.account, chat.model, chat.question[:QUESTION_CHARACTERS])


@dataclass(slots=True)
class Plan:
    """How a question is answered. revision: of the collection that was searched. system: the text that is put in front
    of the conversation, None when it stands as it came."""

    route: Route
    passages: tuple[Passage, ...] = ()
    revision: str | None = None
    system: str | None = None


@dataclass(slots=True)
class Answer:
    """body: the answer as JSON in the caller's dialect, empty while a stream runs. cost: nano-dollars, None where
    unknown."""

    body: bytes
    provider: str
    model: str
    cache: CacheState
    cost: int | None
    operation: str
    reason: str
    passages: tuple[Passage, ...]
    limits: Mapping[str, str] = field(default_factory=dict)
    """`x-ratelimit-*` headers."""

    @property
    def cost_usd(self) -> float | None:
        """Dollars."""
        return None if self.cost is None else self.cost / NANO

    def headers(self) -> dict[str, str]:
        """The response headers that say how the answer came about."""
        headers = {
            "x-penstock-provider": self.provider,
            "x-penstock-model": self.model,
            "x-penstock-cache": self.cache,
            "x-penstock-route-reason": header_text(self.reason),
            **self.limits,
        }
        if self.cost is not None:
            headers["x-penstock-cost-usd"] = f"{self.cost / NANO:.9f}"
        return headers


@dataclass(slots=True)
class Tail:
    """The end of a stream so far: the events that went out last."""

    events: bytes = b""


@dataclass(frozen=True, slots=True)
class AnswerStream:
    """events: whole server-sent events in the caller's dialect."""

    answer: Answer
    events: AsyncIterator[bytes]
    tail: Tail


def to_metadata(answer: Answer) -> dict[str, Any]:
    """What is stored beside a body, as plain JSON."""
    passages = [asdict(passage) for passage in answer.passages]
    for passage in passages:
        passage["chunk_id"], passage["document_id"] = str(passage["chunk_id"]), str(passage["document_id"])
    return {
        "provider": answer.provider,
        "model": answer.model,
        "operation": answer.operation,
        "reason": answer.reason,
        "passages": passages,
    }


def from_cache(cached: CachedAnswer) -> Answer:
    """A stored answer. It costs nothing."""
    stored = cached.metadata
    passages = tuple(
        Passage(**{**p, "chunk_id": UUID(p["chunk_id"]), "document_id": UUID(p["document_id"])})
        for p in stored["passages"]
    )
    return Answer(
        body=cached.body,
        provider=stored["provider"],
        model=stored["model"],
        cache="hit",
        cost=0,
        operation=stored["operation"],
        reason=stored["reason"],
        passages=passages,
    )
