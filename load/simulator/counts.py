"""What was asked, what became of it, and what the provider would charge for it."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from load.simulator.prompt_cache import InputTokens
from load.simulator.tokens import tokens_of

BILLS_KEPT = 200_000
REQUESTS_KEPT = 100
BODY_KEPT = 65_536
CANCELS_KEPT = 10_000
NOTHING = InputTokens(0)
_SECRET = (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")


Row = tuple[str | None, str, str, str, int, int, int, int, int, int | None, str | None, bool, str]
"""A bill as it is kept: of plain values only, so that the garbage collector has nothing to follow."""
_FIELDS = (
    "request_id", "provider", "model", "operation", "input", "cached", "cache_write", "output", "cache_write_long",
    "cost", "fault", "stream", "state",
)  # fmt: skip


@dataclass(slots=True, eq=False)
class Call:
    """One call to a provider from its arrival to its end. `emitted`: bytes of whole events that carried output.
    `begun`: its answer has started. `state`: `open`, `completed`, `refused` (the connection was, or the answer is an
    error), `broken` (ended by its fault), `cancelled` (the client left). `cost`: nano-dollars that the answer
    states."""

    provider: str
    model: str
    operation: str
    request_id: str | None = None
    stream: bool = False
    fault: str | None = None
    input: InputTokens = NOTHING
    output: int = 0
    emitted: int = 0
    cost: int | None = None
    begun: bool = False
    states_input: bool = False
    states_usage: bool = False
    state: str = "open"

    @property
    def bill(self) -> tuple[int, int, int, int]:
        """Input in total, of it cached and written to the cache, and output tokens that the provider charges.

        An answer that states an error, and a connection that is refused, cost nothing. Any other call was taken: its
        prompt is charged, and the tokens that it has sent; what was cached counts only where it was stated. A whole
        answer that arrived and a stream whose usage was stated are charged in full.
        """
        tokens = self.input
        if self.state == "refused":
            return 0, 0, 0, 0
        if self.state == "completed" or self.states_usage:
            return tokens.total, tokens.cached, tokens.written, self.output
        output = tokens_of(self.emitted)
        if self.states_input:
            return tokens.total, tokens.cached, tokens.written, output
        return tokens.total, 0, 0, output

    @property
    def stated_cost(self) -> int | None:
        """What the reader was told that it costs; None where it was told nothing."""
        return self.cost if self.state == "completed" or self.states_usage else None


@dataclass(slots=True)
class Tally:
    """Of one provider and model."""

    requests: int = 0
    completed: int = 0
    refused: int = 0
    invalid: int = 0
    streams_started: int = 0
    streams_completed: int = 0
    streams_cancelled: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The bill apart."""
        names = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")
        counts = {name: getattr(self, name) for name in self.__slots__ if name not in names}
        return counts | {"bill": {name: getattr(self, name) for name in names}}


class Counts:
    """Since the start or the last reset. A stream counts as cancelled where its client left before its end."""

    def __init__(self) -> None:
        self.connections_open = 0
        self.open: set[Call] = set()
        self.reset()

    def reset(self) -> None:
        """Forget all but what is open."""
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._bills: deque[Row] = deque(maxlen=BILLS_KEPT)
        self._requests: deque[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]] = deque(maxlen=REQUESTS_KEPT)
        self._cancelled: deque[tuple[str | None, int]] = deque(maxlen=CANCELS_KEPT)
        self.operations: dict[str, int] = {}
        self.requests = 0
        self.invalid_requests = 0
        self.invalid_replies = 0
        self.invalid_examples: deque[dict[str, Any]] = deque(maxlen=20)

    # written while a call goes on

    def arrived(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A request to a provider."""
        self.requests += 1
        self._requests.append((method, target, headers, body[:BODY_KEPT]))

    def opened(self, call: Call) -> None:
        """The call is understood and will be answered."""
        self.open.add(call)
        self.operations[call.operation] = self.operations.get(call.operation, 0) + 1
        tally = self._tally(call)
        tally.requests += 1
        if call.fault is not None:
            tally.faults[call.fault] = tally.faults.get(call.fault, 0) + 1

    def began(self, call: Call) -> None:
        """Its answer starts."""
        call.begun = True
        if call.stream:
            self._tally(call).streams_started += 1

    def finished(self, call: Call, state: str) -> None:
        """Only the first end of a call counts."""
        if call.state != "open":
            return
        call.state = state
        self.open.discard(call)
        tally = self._tally(call)
        if state == "completed":
            tally.completed += 1
            tally.streams_completed += call.stream
        elif state == "refused":
            tally.refused += 1
        elif state == "cancelled":
            self._cancelled.append((call.request_id, time.time_ns() // 1_000_000))
            tally.streams_cancelled += call.stream and call.begun
        row = _row(call)
        self._bills.append(row)
        total, cached, written, output = row[4:8]
        tally.input_tokens += total
        tally.cached_tokens += cached
        tally.cache_write_tokens += written
        tally.output_tokens += output

    def invalid(self, provider: str, model: str, message: str, body: bytes) -> None:
        """A request that the provider's own types do not allow."""
        self.invalid_requests += 1
        self._tallies.setdefault((provider, model), Tally()).invalid += 1
        text = body[:2000].decode("utf-8", "replace")
        self.invalid_examples.append({"provider": provider, "message": message, "body": text})

    def _tally(self, call: Call) -> Tally:
        key = (call.provider, call.model)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
        return tally

    # read

    def as_json(self) -> dict[str, Any]:
        """GET /counts. `cancelled` has the request id and the Unix milliseconds of each client that left."""
        tallies = self._tallies.values()
        providers: dict[str, dict[str, Any]] = {}
        for (provider, model), tally in self._tallies.items():
            providers.setdefault(provider, {})[model] = tally.as_json()
        return {
            "requests": self.requests,
            "chat": sum(self.operations.get(name, 0) for name in ("chat", "responses", "messages")),
            "embeddings": self.operations.get("embeddings", 0),
            "streams_started": sum(tally.streams_started for tally in tallies),
            "streams_completed": sum(tally.streams_completed for tally in tallies),
            "streams_cancelled": sum(tally.streams_cancelled for tally in tallies),
            "streams_open": sum(call.stream and call.begun for call in self.open),
            "connections_open": self.connections_open,
            "invalid_requests": self.invalid_requests,
            "invalid_replies": self.invalid_replies,
            "invalid_examples": list(self.invalid_examples),
            "cancelled": [{"request_id": name, "at_ms": at} for name, at in self._cancelled],
            "providers": providers,
        }

    def bills(self) -> list[dict[str, Any]]:
        """GET /bills: one row a call, those that are still open last."""
        return [dict(zip(_FIELDS, row, strict=True)) for row in (*self._bills, *map(_row, self.open))]

    def last_requests(self) -> list[dict[str, Any]]:
        """GET /requests: the last ones without their keys, oldest first."""
        return [
            {
                "method": method.decode(),
                "target": target.decode("latin-1"),
                "headers": {name.decode("latin-1").lower(): _shown(name, value) for name, value in headers},
                "body": body.decode("utf-8", "replace"),
            }
            for method, target, headers, body in self._requests
        ]


def _row(call: Call) -> Row:
    total, cached, written, output = call.bill
    return (
        call.request_id,
        call.provider,
        call.model,
        call.operation,
        total,
        cached,
        written,
        output,
        written if call.input.ttl == "1h" else 0,
        call.stated_cost,
        call.fault,
        call.stream,
        call.state,
    )


def _shown(name: bytes, value: bytes) -> str:
    return "[redacted]" if name.lower() in _SECRET else value.decode("latin-1")
