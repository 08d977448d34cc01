"""One attempt at one model of one provider, and what a provider's client makes of it.

Every provider is behind `ProviderClient`, the local one too: the stage cannot tell them apart. A client makes exactly
one attempt; retries, fallbacks, breakers and money are the stage's.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from deployments.protocols import Dialect, Passage, Usage


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how a provider is called.

    name: the provider's, for people. tenant_owned: key and address are a tenant's, so that the egress rules hold. The
    key never leaves the provider caller.
    """

    provider: str
    name: str
    base_url: str
    key: str | None
    tenant_owned: bool = False

    def __repr__(self) -> str:
        return f"Endpoint({self.name}, {self.base_url})"


@dataclass(frozen=True, slots=True)
class Call:
    """body: the request as the caller sent it, `content` the same parsed; `model` is to be put in its place.

    timeout: seconds that are left in total. idle_timeout: seconds of silence after which a stream that has begun is
    given up.
    """

    provider: str
    model: str
    dialect: Dialect
    body: bytes
    content: Mapping[str, Any]
    stream: bool
    request_id: str
    timeout: float
    idle_timeout: float
    question: str = ""
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    """body: a whole answer in the caller's dialect. usage: as the provider states it, without cost; None where it does
    not."""

    body: bytes
    usage: Usage | None


class OpenStream(Protocol):
    """A stream whose first real event is at hand."""

    @property
    def usage(self) -> Usage | None:
        """What is known of it by now, without cost: stated by the provider, else estimated from what has passed."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the provider has ended it well. False also while it runs."""
        ...

    def events(self) -> AsyncGenerator[bytes, None]:
        """Whole events in the caller's dialect, every ready one in one item. Raises nothing: a failure is an error
        event, the last one. Closing it ends the upstream call at once."""
        ...

    async def close(self) -> None:
        """End the upstream call. Safe to repeat, and where `events` was never asked for."""
        ...


class ProviderClient(Protocol):
    """Makes single attempts."""

    async def complete(self, endpoint: Endpoint, call: Call) -> Completed:
        """One whole answer. Raises the platform's errors (kit.errors); a failed attempt that the provider may have
        charged for has its `Usage` in the error's `usage` attribute (see `spent_on`)."""
        ...

    async def open(self, endpoint: Endpoint, call: Call) -> OpenStream:
        """A stream, once its first real event has come. Raises as `complete` does."""
        ...


_Error = TypeVar("_Error", bound=BaseException)


def with_usage(error: _Error, usage: Usage | None) -> _Error:
    """The same error, which now says what the failed attempt used."""
    error.__dict__["usage"] = usage
    return error


def spent_on(error: BaseException) -> Usage | None:
    """What a failed attempt used, None where nothing or nobody knows."""
    usage = error.__dict__.get("usage")
    return usage if isinstance(usage, Usage) else None
