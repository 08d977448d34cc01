"""Clients of stages that run elsewhere: what is tried again, and what errors become."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from deployments.placement import (
    EmbedderClient,
    ProviderCallerClient,
    RemoteCache,
    RemoteRouter,
    RerankerClient,
    RetrieverClient,
    StageClient,
)
from kit.errors import NotFoundError, UnavailableError

Outcome = Any


class Method:
    """One method of a handle; `remote` gives the outcomes in turn and remembers its arguments."""

    def __init__(self, outcomes: list[Outcome], *, stream: bool) -> None:
        self._outcomes = outcomes
        self._stream = stream
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.streams: list[Items] = []

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((args, kwargs))
        outcome = self._outcomes[min(len(self.calls), len(self._outcomes)) - 1]
        if self._stream:
            self.streams.append(Items(outcome))
            return self.streams[-1]
        return self._answer(outcome)

    async def _answer(self, outcome: Outcome) -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Items:
    """A streaming response: items, the last of which may be an error."""

    def __init__(self, items: list[Any]) -> None:
        self._items = iter(items)
        self.cancelled = False

    def __aiter__(self) -> "Items":
        return self

    async def __anext__(self) -> Any:
        item = next(self._items, StopAsyncIteration())
        if isinstance(item, BaseException):
            raise item
        return item

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """Stands in for a DeploymentHandle: every method gives the same outcomes."""

    def __init__(self, *outcomes: Outcome, stream: bool = False) -> None:
        self.method = Method(list(outcomes), stream=stream)

    def options(self, *, stream: bool) -> "Handle":
        assert stream
        return self

    def __getattr__(self, name: str) -> Method:
        return self.method


def task_error(cause: Exception) -> Exception:
    """As Ray raises what a replica's method raised."""
    return RayTaskError("method", "traceback", cause).as_instanceof_cause()


def back_pressure() -> BackPressureError:
    return BackPressureError(num_queued_requests=9, max_queued_requests=9)


LOST = [ActorDiedError(), ActorUnavailableError("gone", None)]

READING: list[Callable[[Any], Any]] = [
    lambda handle: EmbedderClient("embedder", handle).embed(["a"], tokens=True),
    lambda handle: RetrieverClient("retriever", handle).search("query"),  # type: ignore[arg-type]
    lambda handle: RerankerClient("reranker", handle).rerank("request"),  # type: ignore[arg-type]
    lambda handle: RemoteRouter("router", handle).route("request"),  # type: ignore[arg-type]
    lambda handle: RemoteRouter("router", handle).models("default"),
    lambda handle: RemoteCache("cache", handle).get("key"),  # type: ignore[arg-type]
    lambda handle: RemoteCache("cache", handle).put("key", "answer", operation="qa"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("error", LOST, ids=["died", "unavailable"])
@pytest.mark.parametrize("call", READING)
async def test_a_call_that_can_be_repeated_is_sent_once_more(call: Callable[[Any], Any], error: Exception) -> None:
    handle = Handle(error, "answer")
    assert await call(handle) == "answer"
    first, second = handle.method.calls
    assert first == second


async def test_two_lost_replicas_are_reported() -> None:
    handle = Handle(*LOST, "answer")
    with pytest.raises(UnavailableError, match="embedder was lost") as error:
        await EmbedderClient("embedder", handle).embed(["a"])  # type: ignore[arg-type]
    assert error.value.retry_after == 1
    assert len(handle.method.calls) == 2


@pytest.mark.parametrize("error", LOST, ids=["died", "unavailable"])
async def test_a_provider_call_is_never_repeated(error: Exception) -> None:
    """It charges."""
    handle = Handle(error, "answer")
    with pytest.raises(UnavailableError, match="provider_caller was lost"):
        await ProviderCallerClient("provider_caller", handle).complete("request")  # type: ignore[arg-type]
    assert len(handle.method.calls) == 1


@pytest.mark.parametrize("error", [back_pressure(), DeploymentUnavailableError("id")], ids=["busy", "failed"])
async def test_a_stage_that_takes_no_more_work_is_unavailable(error: Exception) -> None:
    handle = Handle(error, "answer")
    with pytest.raises(UnavailableError) as raised:
        await EmbedderClient("embedder", handle).embed(["a"])  # type: ignore[arg-type]
    assert raised.value.retry_after == 1
    assert len(handle.method.calls) == 1, "a full queue gets no fuller"


async def test_the_stages_own_error_reaches_the_caller_as_it_was() -> None:
    cause = NotFoundError("There is no collection x.", details={"collection": ["unknown"]})
    with pytest.raises(NotFoundError) as raised:
        await RetrieverClient("retriever", Handle(task_error(cause))).search("query")  # type: ignore[arg-type]
    assert raised.value is cause
    assert raised.value.details == {"collection": ["unknown"]}


async def test_a_defect_in_a_stage_is_not_disguised() -> None:
    with pytest.raises(ZeroDivisionError):
        await RetrieverClient("retriever", Handle(task_error(ZeroDivisionError("x")))).search("q")  # type: ignore[arg-type]


async def read(handle: Handle) -> AsyncIterator[Any]:
    async for item in ProviderCallerClient("provider_caller", handle).stream("request"):  # type: ignore[arg-type]
        yield item


async def test_a_stream_gives_its_items_and_is_not_cancelled_at_its_end() -> None:
    handle = Handle([[1, 2], [3]], stream=True)
    assert [item async for item in read(handle)] == [1, 2, 3]
    assert not handle.method.streams[0].cancelled


async def test_a_stream_that_is_left_is_cancelled_in_the_replica() -> None:
    handle = Handle([[1, 2], [3]], stream=True)
    client = ProviderCallerClient("provider_caller", handle)  # type: ignore[arg-type]
    items = client.stream("request")  # type: ignore[arg-type]
    assert await anext(items) == 1
    await items.aclose()  # type: ignore[attr-defined]
    assert handle.method.streams[0].cancelled


async def test_a_cancelled_reader_cancels_the_stream() -> None:
    class Endless(Items):
        async def __anext__(self) -> Any:
            await asyncio.Event().wait()

    handle = Handle([], stream=True)
    endless = Endless([])
    handle.method.remote = lambda *_: endless  # type: ignore[method-assign]

    async def reader() -> None:
        async for _ in StageClient("x", handle)._stream("stream"):  # type: ignore[arg-type]
            pass

    task = asyncio.create_task(reader())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert endless.cancelled


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (LOST[0], UnavailableError),
        (LOST[1], UnavailableError),
        (back_pressure(), UnavailableError),
        (task_error(NotFoundError("no")), NotFoundError),
    ],
    ids=["died", "unavailable", "busy", "own"],
)
async def test_a_stream_that_breaks_says_why_and_is_not_repeated(error: Exception, raised: type[Exception]) -> None:
    handle = Handle([[1], error], stream=True)
    items = read(handle)
    assert await anext(items) == 1
    with pytest.raises(raised):
        await anext(items)
    assert len(handle.method.calls) == 1
