"""Measures gateways: alone and under load, plain and streaming, beside the direct way in the same minutes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from load.client import LoadGenerator
from load.compare.gateways import MODEL, Gateway, direct, ledger_calls
from load.load_run import SERIAL, LoadResult, LoadSpec

WARM_UP_SECONDS = 1.5

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Load:
    """One way of asking. `connections` clients, each with one request at a time."""

    name: str
    stream: bool
    connections: int

    @property
    def body(self) -> str:
        """The request; the serial number keeps answers out of every cache."""
        message = {"role": "user", "content": f"Question {SERIAL}: where does the water go?"}
        body: dict[str, object] = {"model": MODEL, "messages": [message]}
        return orjson.dumps(body | ({"stream": True} if self.stream else {})).decode()


LOADS = (
    Load("plain, alone", False, 1),
    Load("plain, 32 connections", False, 32),
    Load("stream, alone", True, 1),
    Load("stream, 16 connections", True, 16),
)

Figures = dict[str, dict[str, Any]]
"""By load: `requests_per_second`, `latency_ms` and `first_event_ms` (p50, p95, p99, max), `errors`, `requests`."""


def measure(
    gateways: Sequence[Gateway], generator: LoadGenerator, *, seconds: float, rounds: int, progress: Progress
) -> dict[str, Figures]:
    """By gateway's name. In each round every gateway meets every load, so that all meet the same machine."""
    results: dict[tuple[str, str], LoadResult] = {}
    for gateway in gateways:
        for load in LOADS:
            progress(f"{gateway.name}: {load.name}, warming up")
            generator.run(_spec(gateway, load, WARM_UP_SECONDS))
    for round_number in range(1, rounds + 1):
        for load in LOADS:
            for gateway in gateways:
                progress(f"{gateway.name}: {load.name}, round {round_number} of {rounds}")
                result = generator.run(_spec(gateway, load, seconds / rounds))
                key = gateway.name, load.name
                results[key] = results[key] + result if key in results else result
    return {
        gateway.name: {load.name: _figures(results[gateway.name, load.name]) for load in LOADS} for gateway in gateways
    }


def with_direct(simulator: str, gateways: Sequence[Gateway]) -> list[Gateway]:
    """The gateways after the direct way, which each of them is compared with."""
    return [direct(simulator), *gateways]


def check_ledger(gateway: Gateway, sent: int) -> str | None:
    """A problem where the product's ledger holds fewer calls than were answered; None where all are there."""
    if gateway.stack is None:
        return None
    held = ledger_calls(gateway.stack)
    if held < sent:
        return f"{gateway.name}: {sent} calls were answered and the ledger holds {held}"
    return None


def answered(figures: Figures) -> int:
    """How many requests of the measurements were answered well."""
    return sum(cell["requests"] for cell in figures.values())


def added(figures: Mapping[str, Figures]) -> None:
    """Put into each cell what the gateway adds to the direct way: `added_ms` with p50 and p99."""
    for cells in figures.values():
        for load, cell in cells.items():
            own, base = cell["latency_ms"], figures["direct"][load]["latency_ms"]
            both = own is not None and base is not None
            cell["added_ms"] = {p: round(own[p] - base[p], 3) for p in ("p50", "p99")} if both else None


def _spec(gateway: Gateway, load: Load, seconds: float) -> LoadSpec:
    return LoadSpec(
        url=gateway.url,
        method="POST",
        bodies=(load.body,),
        headers=gateway.headers,
        stream=load.stream,
        connections=load.connections,
        seconds=seconds,
    )


def _figures(result: LoadResult) -> dict[str, Any]:
    latency, first = result.latency, result.first_event
    return {
        "requests": result.requests,
        "requests_per_second": round(result.requests_per_second, 1),
        "latency_ms": None if latency is None else asdict(latency),
        "first_event_ms": None if first is None else asdict(first),
        "errors": result.errors,
        "error_sample": result.error_sample[:300],
    }
