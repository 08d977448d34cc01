import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kit.errors import UpstreamError
from serve_app.http.context import begin
from serve_app.http.sse import PING, EventStream, encode


class Client:
    """The other end of an ASGI call: keeps what is sent, leaves when told to."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.leaves = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def run(events: AsyncIterator[bytes], client: Client, *, timeout: float = 10, heartbeat: float = 15) -> Any:
    scope: dict[str, Any] = {"type": "http"}
    context = begin(scope, None, timeout)
    response = EventStream(events, render_error=lambda error, _: encode({"error": error.code}), heartbeat=heartbeat)
    await response(scope, client.receive, client.send)  # type: ignore[arg-type]
    return context


class Events:
    """Yields what it is given and knows whether it was closed."""

    def __init__(self, *items: Any) -> None:
        self.closed = False
        self._items = items

    async def __aiter__(self) -> Any:
        try:
            for item in self._items:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, asyncio.Event):
                    await item.wait()
                    continue
                yield item
        finally:
            self.closed = True


async def test_events_go_out_and_the_response_ends() -> None:
    client = Client()
    await run(aiter(Events(b"data: 1\n\n", b"data: 2\n\n")), client)
    assert client.body == b"data: 1\n\ndata: 2\n\n"
    assert [message.get("more_body") for message in client.sent] == [None, True, True, False]
    assert (b"content-type", b"text/event-stream; charset=utf-8") in client.sent[0]["headers"]
    assert not any(name == b"content-length" for name, _ in client.sent[0]["headers"])


async def test_silence_is_filled_with_comments() -> None:
    client, gate = Client(), asyncio.Event()
    running = asyncio.create_task(run(aiter(Events(b"data: 1\n\n", gate, b"data: 2\n\n")), client, heartbeat=0.02))
    while client.body.count(PING) < 3:
        await asyncio.sleep(0.01)
    gate.set()
    await running
    assert client.body.startswith(b"data: 1\n\n" + PING)
    assert client.body.endswith(b"data: 2\n\n")


async def test_a_failure_becomes_the_last_event() -> None:
    client, events = Client(), Events(b"data: 1\n\n", UpstreamError("gone"))
    context = await run(aiter(events), client)
    assert client.body == b'data: 1\n\ndata: {"error":"UPSTREAM_ERROR"}\n\n'
    assert context.failed
    assert events.closed


async def test_an_unexpected_failure_is_an_internal_error() -> None:
    client = Client()
    await run(aiter(Events(ValueError("secret"))), client)
    assert client.body == b'data: {"error":"INTERNAL_ERROR"}\n\n'


async def test_the_deadline_closes_the_events() -> None:
    client, events = Client(), Events(b"data: 1\n\n", asyncio.Event())
    await run(aiter(events), client, timeout=0.05)
    assert client.body.endswith(b'data: {"error":"DEADLINE_EXCEEDED"}\n\n')
    assert events.closed


async def test_a_client_that_leaves_closes_the_events_and_gets_nothing_more() -> None:
    client, events = Client(), Events(b"data: 1\n\n", asyncio.Event())
    running = asyncio.create_task(run(aiter(events), client))
    while not client.body:
        await asyncio.sleep(0)
    client.leaves.set()
    context = await running
    assert context.client_left
    assert events.closed
    assert client.body == b"data: 1\n\n"
    assert client.sent[-1]["more_body"]


async def test_a_slow_client_that_leaves_closes_the_events_between_two_of_them() -> None:
    class Slow(Client):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if message.get("body"):
                await asyncio.Event().wait()

    client, events = Slow(), Events(b"data: 1\n\n", b"data: 2\n\n")
    iterator = aiter(events)  # held, so that only an explicit close ends it
    running = asyncio.create_task(run(iterator, client))
    while not client.body:
        await asyncio.sleep(0)
    client.leaves.set()
    assert (await running).client_left
    assert events.closed
    assert client.body == b"data: 1\n\n"


async def test_cancelling_the_request_closes_the_events_and_stays_a_cancellation() -> None:
    client, events = Client(), Events(b"data: 1\n\n", asyncio.Event())
    running = asyncio.create_task(run(aiter(events), client))
    while not client.body:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert events.closed


async def test_no_companion_task_is_left_behind() -> None:
    before = asyncio.all_tasks()
    await run(aiter(Events(b"data: 1\n\n")), Client())
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
