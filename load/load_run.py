"""What a load run sends, and what came of it. Both travel between processes as JSON."""

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from load.latencies import LatencySummary
from load.loopback import loopback_address

SERIAL = "@SERIAL@"
"""Where a body has this, each request puts a number that no other request has."""

MAX_CONNECTIONS = 1024
MAX_SECONDS = 600.0
MAX_REQUESTS = 2_000_000


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """One closed-loop run: `connections` clients, each sending its next request when the last is answered.

    The run ends after `seconds` or `max_requests`, whichever is first. `bodies` are sent in turn; no body: GET is
    sensible. `stream`: answers are server-sent events that must end with `[DONE]`. `timeout`: seconds one request may
    take. Raises ValueError for anything out of bounds, NotLoopbackError for another machine's URL.
    """

    url: str
    method: str = "GET"
    bodies: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: bool = False
    connections: int = 1
    seconds: float = 5.0
    max_requests: int = MAX_REQUESTS
    timeout: float = 30.0

    def __post_init__(self) -> None:
        loopback_address(self.url)
        if not 1 <= self.connections <= MAX_CONNECTIONS:
            raise ValueError(f"connections must be 1 to {MAX_CONNECTIONS}, not {self.connections}")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds must be above 0 and at most {MAX_SECONDS}, not {self.seconds}")
        if not 1 <= self.max_requests <= MAX_REQUESTS:
            raise ValueError(f"max_requests must be 1 to {MAX_REQUESTS}, not {self.max_requests}")
        if not 0 < self.timeout <= MAX_SECONDS:
            raise ValueError(f"timeout must be above 0 and at most {MAX_SECONDS}, not {self.timeout}")
        if any("\r" in text or "\n" in text for text in (self.method, *self.headers, *self.headers.values())):
            raise ValueError("a header must not contain line ends")


@dataclass(slots=True)
class LoadResult:
    """What was seen.

    Latencies are microseconds of the requests that were answered well (2xx; streams whole, to their `[DONE]`), in no
    order. `errors` counts the others by kind: `status 503`, `timeout`, `disconnected`, `connect failed`,
    `stream without [DONE]`, `error event`, `not HTTP`. `cache` counts the values of `x-penstock-cache`. `sample` is
    the start of the first good answer's body, `error_sample` that of the first bad one's.
    """

    elapsed: float = 0.0
    latencies: list[int] = field(default_factory=list)
    first_events: list[int] = field(default_factory=list)
    events: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    cache: dict[str, int] = field(default_factory=dict)
    sample: str = ""
    error_sample: str = ""

    @property
    def requests(self) -> int:
        """How many were answered well."""
        return len(self.latencies)

    @property
    def requests_per_second(self) -> float:
        """Of those answered well."""
        return self.requests / self.elapsed if self.elapsed else 0.0

    @property
    def latency(self) -> LatencySummary | None:
        """Milliseconds until the whole answer was there."""
        return LatencySummary.of(self.latencies)

    @property
    def first_event(self) -> LatencySummary | None:
        """Milliseconds until a stream's first event was there."""
        return LatencySummary.of(self.first_events)

    def __add__(self, other: "LoadResult") -> "LoadResult":
        """Two rounds of one measurement as one."""
        return LoadResult(
            elapsed=self.elapsed + other.elapsed,
            latencies=self.latencies + other.latencies,
            first_events=self.first_events + other.first_events,
            events=self.events + other.events,
            statuses=dict(Counter(self.statuses) + Counter(other.statuses)),
            errors=dict(Counter(self.errors) + Counter(other.errors)),
            cache=dict(Counter(self.cache) + Counter(other.cache)),
            sample=self.sample or other.sample,
            error_sample=self.error_sample or other.error_sample,
        )


_SERIALS = itertools.count(random.randrange(10**8, 9 * 10**8))


def request_bytes(spec: LoadSpec) -> Iterator[bytes]:
    """The requests of a run, without end: the bodies in turn, each with its own serial number of nine digits."""
    address = loopback_address(spec.url)
    query = urlsplit(spec.url).query
    target = (address.prefix or "/") + (f"?{query}" if query else "")
    lines = [f"{spec.method} {target} HTTP/1.1", f"Host: {address.authority}"]
    lines += [f"{name}: {value}" for name, value in spec.headers.items()]
    if not spec.bodies:
        whole = ("\r\n".join(lines) + "\r\n\r\n").encode()
        while True:
            yield whole
    templates = [_template(lines, body) for body in spec.bodies]
    for parts in itertools.cycle(templates):
        yield (b"%d" % next(_SERIALS)).join(parts)


def _template(lines: list[str], body: str) -> list[bytes]:
    """A request cut where the serial number goes; its length does not depend on the number."""
    size = len(body.replace(SERIAL, "0" * 9).encode())
    head = "\r\n".join([*lines, "Content-Type: application/json", f"Content-Length: {size}"])
    return [part.encode() for part in (head + "\r\n\r\n" + body).split(SERIAL)]
