"""Plays calls against a running product, and notes what each client saw."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import aiohttp
import orjson

from load.ledger_check.calls import PlannedCall

TIMEOUT = 60.0


@dataclass(slots=True)
class Played:
    """outcomes: how many calls ended how: `200`, another status, `error event`, `left`, `lost`. left: request ids of
    the clients that closed their connection before the answer was whole."""

    outcomes: Counter[str] = field(default_factory=Counter)
    left: set[str] = field(default_factory=set)


async def play(
    url: str, key: str, calls: Iterable[PlannedCall], *, connections: int, progress: Callable[[int], None]
) -> Played:
    """All calls, so many at a time. progress: gets the number of calls that are over."""
    played, waiting = Played(), iter(calls)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(
        url, headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        await asyncio.gather(*(_client(session, waiting, played, progress) for _ in range(connections)))
    return played


async def _client(
    session: aiohttp.ClientSession, waiting: Iterator[PlannedCall], played: Played, progress: Callable[[int], None]
) -> None:
    for call in waiting:
        try:
            outcome = await _one(session, call)
        except (aiohttp.ClientError, TimeoutError):
            outcome = "lost"
        if outcome == "left":
            played.left.add(call.request_id)
        played.outcomes[outcome] += 1
        progress(played.outcomes.total())


async def _one(session: aiohttp.ClientSession, call: PlannedCall) -> str:
    headers = {"X-Request-Id": call.request_id}
    if call.leaves_after is not None and not call.stream:
        # A whole answer comes at once: its client leaves while it waits.
        try:
            async with asyncio.timeout(0.002):
                async with session.post(call.path, data=call.body, headers=headers) as response:
                    await response.read()
                    return str(response.status)
        except TimeoutError:
            return "left"
    async with session.post(call.path, data=call.body, headers=headers) as response:
        if call.leaves_after is None or response.status != 200:
            body = await response.read()
            return "error event" if call.stream and response.status == 200 and _failed(body) else str(response.status)
        read = 0
        while read < call.leaves_after:
            piece = await response.content.readany()
            if not piece:
                return "200"
            read += len(piece)
        response.close()
        return "left"


def _failed(body: bytes) -> bool:
    """Whether a stream says at its end that it is not whole."""
    last = body.rstrip().rpartition(b"data: ")[2]
    if last == b"[DONE]":
        return False
    content = orjson.loads(last)
    return bool(content.get("error")) or content.get("type") == "response.failed"
