"""Every call of a stage is counted once, with how it ended."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deployments import measure
from deployments.measure import REQUESTS, measured
from kit.errors import NotFoundError
from kit.telemetry import Metrics


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    fresh = Metrics()
    monkeypatch.setattr(measure, "METRICS", fresh)
    return fresh


class Stage:
    """A stage whose methods end as they are told."""

    @measured("example")
    async def work(self, ending: BaseException | str) -> str:
        """Return a word or raise."""
        if isinstance(ending, BaseException):
            raise ending
        return ending

    @measured("example")
    async def wait(self) -> None:
        """Never end."""
        await asyncio.Event().wait()

    @measured("example")
    async def stream(self, ending: BaseException | None = None) -> AsyncIterator[int]:
        """Three numbers, then the ending."""
        self.open = True
        try:
            for number in range(3):
                yield number
            if ending is not None:
                raise ending
        finally:
            self.open = False


def outcomes(metrics: Metrics, operation: str) -> dict[str, float]:
    names = ("ok", "not_found", "error", "cancelled")
    read = {name: metrics.read(REQUESTS, stage="example", operation=operation, outcome=name) for name in names}
    return {name: count for name, count in read.items() if count}


@pytest.mark.parametrize(
    ("ending", "outcome"), [("done", "ok"), (NotFoundError("no"), "not_found"), (ValueError("no"), "error")]
)
async def test_a_call_is_counted_with_its_outcome(metrics: Metrics, ending: Any, outcome: str) -> None:
    if isinstance(ending, Exception):
        with pytest.raises(type(ending)):
            await Stage().work(ending)
    else:
        assert await Stage().work(ending) == ending
    assert outcomes(metrics, "work") == {outcome: 1}


async def test_a_cancelled_call_is_counted_as_such(metrics: Metrics) -> None:
    task = asyncio.create_task(Stage().wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes(metrics, "wait") == {"cancelled": 1}


async def test_a_stream_is_counted_when_it_ends(metrics: Metrics) -> None:
    items = Stage().stream()
    assert await anext(items) == 0
    assert outcomes(metrics, "stream") == {}
    assert [item async for item in items] == [1, 2]
    assert outcomes(metrics, "stream") == {"ok": 1}


async def test_a_stream_that_breaks_is_counted_by_its_error(metrics: Metrics) -> None:
    with pytest.raises(NotFoundError):
        [item async for item in Stage().stream(NotFoundError("no"))]
    with pytest.raises(ValueError, match="no"):
        [item async for item in Stage().stream(ValueError("no"))]
    assert outcomes(metrics, "stream") == {"not_found": 1, "error": 1}


async def test_leaving_a_stream_closes_what_it_held(metrics: Metrics) -> None:
    stage = Stage()
    items = stage.stream()
    await anext(items)
    assert stage.open
    await items.aclose()
    assert not stage.open
    assert outcomes(metrics, "stream") == {"cancelled": 1}


async def test_each_call_leaves_one_duration(metrics: Metrics) -> None:
    seen: list[Any] = []
    metrics.export_to(lambda counts, durations: seen.append(dict(durations)))
    await Stage().work("a")
    await Stage().work("b")
    metrics.flush()
    ((key, durations),) = seen[0].items()
    assert key == (measure.LATENCY, (("operation", "work"), ("stage", "example")))
    assert len(durations) == 2


def test_the_method_keeps_its_name_and_documentation() -> None:
    assert Stage.work.__name__ == "work"
    assert Stage.stream.__doc__ == "Three numbers, then the ending."
