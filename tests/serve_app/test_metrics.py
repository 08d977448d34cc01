"""Counts on their way to Prometheus, and the one scrape of all nodes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client.parser import text_string_to_metric_families

from kit.telemetry import LATENCY_BUCKETS, Metrics
from serve_app import metrics as module
from serve_app.metrics import ClusterScrape, RayExporter
from tests.cluster.process import free_port


class Recorder:
    """Stands in for Ray's Counter and Histogram, which need a running cluster."""

    made: list["Recorder"]

    def __init__(self, name: str, *, tag_keys: tuple[str, ...], boundaries: list[float] | None = None) -> None:
        self.name, self.tag_keys, self.boundaries = name, tag_keys, boundaries
        self.seen: list[tuple[float, dict[str, str]]] = []
        self.made.append(self)

    def inc(self, amount: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.tag_keys)
        self.seen.append((amount, tags))

    observe = inc


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    Recorder.made = []
    monkeypatch.setattr(module, "Counter", Recorder)
    monkeypatch.setattr(module, "Histogram", Recorder)
    return Recorder.made


def test_counts_and_durations_go_out_under_their_names_and_tags(recorders: list[Recorder]) -> None:
    metrics = Metrics()
    metrics.export_to(RayExporter())
    for _ in range(2):
        metrics.count("calls", stage="cache", outcome="ok")
        metrics.count("calls", 3, stage="router", outcome="error")
        metrics.observe("seconds", 0.2, stage="cache")
        metrics.flush()
    calls, seconds = recorders
    assert (calls.name, calls.tag_keys) == ("calls", ("outcome", "stage"))
    assert calls.seen == 2 * [(1, {"stage": "cache", "outcome": "ok"}), (3, {"stage": "router", "outcome": "error"})]
    assert seconds.boundaries == list(LATENCY_BUCKETS)
    assert seconds.seen == 2 * [(0.2, {"stage": "cache"})]


def page(node: str, calls: int) -> str:
    """As a node's agent writes it."""
    return (
        "# HELP ray_penstock_calls_total Calls\n# TYPE ray_penstock_calls_total counter\n"
        f'ray_penstock_calls_total{{NodeAddress="{node}"}} {calls}.0\n'
        "# HELP ray_penstock_seconds Seconds\n# TYPE ray_penstock_seconds histogram\n"
        f'ray_penstock_seconds_bucket{{NodeAddress="{node}",le="+Inf"}} 1.0\n'
        f'ray_penstock_seconds_count{{NodeAddress="{node}"}} 1.0\n'
        f'ray_penstock_seconds_sum{{NodeAddress="{node}"}} 2.0\n'
        f"# HELP ray_only_{node} Of one node\n# TYPE ray_only_{node} gauge\nray_only_{node} 1.0\n"
    )


@asynccontextmanager
async def node(text: str) -> AsyncIterator[str]:
    async def scrape(request: web.Request) -> web.Response:
        return web.Response(text=text)

    application = web.Application()
    application.router.add_get("/metrics", scrape)
    async with TestServer(application) as server:
        yield str(server.make_url("/metrics"))


def families(text: bytes) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


async def test_all_nodes_are_one_page_in_which_each_metric_is_described_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with node(page("a", 1)) as one, node(page("b", 2)) as two:
        monkeypatch.setattr(module, "_metrics_endpoints", lambda: [one, two])
        text = await ClusterScrape()()
    assert text.count(b"# TYPE penstock_calls_total counter\n") == 1
    found = families(text)
    assert {sample.labels["NodeAddress"]: sample.value for sample in found["penstock_calls"].samples} == {
        "a": 1,
        "b": 2,
    }
    assert len(found["penstock_seconds"].samples) == 6
    assert {"ray_only_a", "ray_only_b"} <= set(found)


async def test_a_node_that_does_not_answer_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = f"http://127.0.0.1:{free_port()}/metrics"
    async with node(page("a", 1)) as one:
        monkeypatch.setattr(module, "_metrics_endpoints", lambda: [gone, one])
        text = await ClusterScrape()()
    assert f"# {gone} does not answer\n".encode() in text
    assert "penstock_calls" in families(text)


async def test_the_list_of_nodes_is_not_asked_for_at_every_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(module, "_metrics_endpoints", lambda: asked.append(1) or [])
    scrape = ClusterScrape()
    for _ in range(3):
        assert await scrape() == b""
    assert len(asked) == 1
