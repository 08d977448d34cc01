"""From this process's counts to Prometheus: out through Ray's metrics agent, in as one scrape of the whole cluster."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence

import aiohttp
import ray
from ray.util.metrics import Counter, Histogram

from kit.telemetry import LATENCY_BUCKETS, Tags

RAY_LABELS = re.compile(rb'(?:Component|SessionName|Version|otel_scope_\w+)="[^"]*",?')
"""Labels that say nothing to a reader; what tells processes apart (WorkerId, NodeAddress) stays."""

NODES_SECONDS = 10.0
"""How long the list of nodes is remembered."""


class RayExporter:
    """Hands counters and histograms to Ray, each under its own name and tag keys."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def __call__(
        self, counts: Mapping[tuple[str, Tags], float], durations: Mapping[tuple[str, Tags], list[float]]
    ) -> None:
        """Export what has gathered since the last call."""
        for (name, tags), amount in counts.items():
            if name not in self._counters:
                self._counters[name] = Counter(name, tag_keys=tuple(key for key, _ in tags))
            self._counters[name].inc(amount, dict(tags))
        for (name, tags), seconds in durations.items():
            if name not in self._histograms:
                keys = tuple(key for key, _ in tags)
                self._histograms[name] = Histogram(name, boundaries=list(LATENCY_BUCKETS), tag_keys=keys)
            labels = dict(tags)
            for duration in seconds:
                self._histograms[name].observe(duration, labels)


class ClusterScrape:
    """Every node's metrics in one document, Penstock's own under their own names (Ray puts `ray_` before them)."""

    def __init__(self) -> None:
        self._endpoints: list[str] = []
        self._known_until = 0.0

    async def __call__(self) -> bytes:
        """Prometheus text. A node that does not answer is left out, and a comment says so."""
        if time.monotonic() > self._known_until:
            self._endpoints = await asyncio.to_thread(_metrics_endpoints)
            self._known_until = time.monotonic() + NODES_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            pages = await asyncio.gather(*(_read(session, endpoint) for endpoint in self._endpoints))
        return merge(pages)


def merge(pages: Sequence[bytes]) -> bytes:
    """Several nodes' pages as one: Prometheus wants all series of a metric together, described once."""
    comments: list[bytes] = []
    descriptions: dict[bytes, dict[bytes, bytes]] = {}
    series: dict[bytes, list[bytes]] = {}
    for page in pages:
        name = b""
        for line in page.splitlines():
            if line.startswith((b"# HELP ", b"# TYPE ")):
                kind, name = line[:7], line.split(b" ", 3)[2]
                descriptions.setdefault(name, {}).setdefault(kind, line)
            elif line.startswith(b"#"):
                comments.append(line)
            elif line:
                series.setdefault(name, []).append(line)
    lines = [*comments]
    for name, samples in series.items():
        lines += [*descriptions.get(name, {}).values(), *samples]
    return b"".join(line + b"\n" for line in lines)


async def _read(session: aiohttp.ClientSession, endpoint: str) -> bytes:
    try:
        async with session.get(endpoint) as response:
            page = await response.read()
    except (aiohttp.ClientError, TimeoutError):
        return f"# {endpoint} does not answer\n".encode()
    return RAY_LABELS.sub(b"", page).replace(b"ray_penstock_", b"penstock_")


def _metrics_endpoints() -> list[str]:
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in nodes]


scrape_cluster = ClusterScrape()
