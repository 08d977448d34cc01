"""Counts add up locally and leave the process in batches."""

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from kit.telemetry import Metrics


class Exporter:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.counts: list[dict[Any, float]] = []
        self.durations: list[dict[Any, list[float]]] = []

    def __call__(self, counts: Mapping[Any, float], durations: Mapping[Any, list[float]]) -> None:
        self.counts.append(dict(counts))
        self.durations.append(dict(durations))


def test_a_counter_adds_up_by_tags() -> None:
    metrics = Metrics()
    metrics.count("calls", stage="cache", outcome="ok")
    metrics.count("calls", 2, outcome="error", stage="cache")
    metrics.count("calls", stage="router", outcome="ok")
    assert metrics.read("calls") == 4
    assert metrics.read("calls", stage="cache") == 3
    assert metrics.read("calls", outcome="ok", stage="cache") == 1
    assert metrics.read("calls", stage="nobody") == metrics.read("other") == 0


def test_the_order_of_tags_does_not_matter() -> None:
    metrics, exporter = Metrics(), Exporter()
    metrics.export_to(exporter)
    metrics.count("calls", a="1", b="2")
    metrics.count("calls", b="2", a="1")
    metrics.flush()
    assert exporter.counts == [{("calls", (("a", "1"), ("b", "2"))): 2}]


def test_a_flush_hands_over_what_came_since_the_last_one() -> None:
    metrics, exporter = Metrics(), Exporter()
    metrics.export_to(exporter)
    metrics.count("calls")
    metrics.observe("seconds", 0.2, stage="cache")
    metrics.flush()
    metrics.count("calls", 5)
    metrics.flush()
    metrics.flush()
    assert exporter.counts == [{("calls", ()): 1}, {("calls", ()): 5}, {}]
    assert exporter.durations == [{("seconds", (("stage", "cache"),)): [0.2]}, {}, {}]
    assert metrics.read("calls") == 6, "totals stay readable"


def test_without_an_exporter_nothing_gathers() -> None:
    """A process that never exports must not grow."""
    metrics, exporter = Metrics(), Exporter()
    for _ in range(100):
        metrics.observe("seconds", 0.1)
        metrics.count("calls")
    metrics.flush()
    metrics.export_to(exporter)
    metrics.flush()
    assert exporter.counts == [{}]
    assert exporter.durations == [{}]


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(5000):
            metrics.count("calls", stage="x")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.read("calls") == 20_000


async def test_run_flushes_until_it_is_cancelled() -> None:
    metrics, exporter = Metrics(), Exporter()
    metrics.export_to(exporter)
    metrics.count("calls")
    task = asyncio.create_task(metrics.run(interval=0.001))
    while not exporter.counts:
        await asyncio.sleep(0.001)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert exporter.counts[0] == {("calls", ()): 1}


async def test_an_exporter_that_fails_does_not_end_the_flushing() -> None:
    metrics, exporter = Metrics(), Exporter()
    failures = iter([True, True, False])

    def sometimes(counts: Mapping[Any, float], durations: Mapping[Any, list[float]]) -> None:
        if next(failures, False):
            raise RuntimeError("the metrics agent is away")
        exporter(counts, durations)

    metrics.export_to(sometimes)
    task = asyncio.create_task(metrics.run(interval=0.001))
    for _ in range(2000):
        if exporter.counts or task.done():
            break
        await asyncio.sleep(0.001)
    assert exporter.counts
    task.cancel()


def test_tags_in_another_order_are_the_same_series():
    metrics, exported = Metrics(), []
    metrics.export_to(lambda counts, observed: exported.append((dict(counts), dict(observed))))
    metrics.count("calls", stage="router", outcome="ok")
    metrics.count("calls", outcome="ok", stage="router")
    metrics.observe("seconds", 0.1, stage="router", outcome="ok")
    metrics.observe("seconds", 0.2, outcome="ok", stage="router")
    metrics.flush()
    tags = (("outcome", "ok"), ("stage", "router"))
    assert exported == [({("calls", tags): 2}, {("seconds", tags): [0.1, 0.2]})]
