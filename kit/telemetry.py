"""Counters and histograms that add up locally and are flushed each second.

One increment costs a dictionary update; the export (through Ray's metrics agent, one scrape per node) happens off the
request's path. Outside Ray the numbers stay readable through `read`, which is what tests do.
"""

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_log = logging.getLogger(__name__)

Tags = tuple[tuple[str, str], ...]

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds."""


class Metrics:
    """All counts of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[tuple[str, Tags], float] = defaultdict(float)
        self._pending: dict[tuple[str, Tags], float] = defaultdict(float)
        self._observed: dict[tuple[str, Tags], list[float]] = defaultdict(list)
        self._export: Callable[[Mapping[Any, float], Mapping[Any, list[float]]], None] | None = None

    def count(self, name: str, amount: float = 1, **tags: str) -> None:
        """Add to a counter."""
        # In the caller's order, which is the same at each place: sorting waits for the flush.
        key = (name, tuple(tags.items()))
        with self._lock:
            self._totals[key] += amount
            self._pending[key] += amount

    def observe(self, name: str, seconds: float, **tags: str) -> None:
        """Add one duration to a histogram with LATENCY_BUCKETS."""
        key = (name, tuple(tags.items()))
        with self._lock:
            if self._export is not None:
                self._observed[key].append(seconds)

    def read(self, name: str, **tags: str) -> float:
        """The counter's total in this process over all tag sets that contain `tags`."""
        wanted = set(tags.items())
        with self._lock:
            return sum(v for (n, t), v in self._totals.items() if n == name and wanted <= set(t))

    def flush(self) -> None:
        """Hand what has gathered since the last flush to the exporter."""
        with self._lock:
            export = self._export
            if export is None:
                self._pending.clear()
                return
            pending, self._pending = self._pending, defaultdict(float)
            observed, self._observed = self._observed, defaultdict(list)
        export(_by_sorted_tags(pending, 0.0), _by_sorted_tags(observed, []))

    def export_to(self, export: Callable[[Mapping[Any, float], Mapping[Any, list[float]]], None]) -> None:
        """Set the exporter; `run` calls it each second."""
        self._export = export

    async def run(self, interval: float = 1.0) -> None:
        """Flush for ever. A batch that the exporter fails on is lost and logged."""
        while True:
            await asyncio.sleep(interval)
            try:
                self.flush()
            except Exception:
                _log.exception("metrics could not be exported")


S = TypeVar("S", float, list[float])


def _by_sorted_tags(series: Mapping[tuple[str, Tags], S], empty: S) -> dict[tuple[str, Tags], S]:
    """The same with one key for the same tags, in whichever order they were given."""
    merged: dict[tuple[str, Tags], S] = {}
    for (name, tags), value in series.items():
        key = (name, tuple(sorted(tags)))
        merged[key] = merged.get(key, empty) + value
    return merged


METRICS = Metrics()
"""This process's metrics."""
