import asyncio
from collections.abc import AsyncIterator

import pytest

from deployments.coalesce import coalesced


async def numbers(count: int, *, pause_after: frozenset[int] = frozenset()) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        if number in pause_after:
            await asyncio.sleep(0.01)


async def test_what_is_ready_travels_together_in_order() -> None:
    assert [batch async for batch in coalesced(numbers(5))] == [[0, 1, 2, 3, 4]]


async def test_what_comes_later_comes_in_its_own_list() -> None:
    batches = [batch async for batch in coalesced(numbers(5, pause_after=frozenset({0, 3})))]
    assert batches == [[0], [1, 2, 3], [4]]


async def test_nothing_comes_of_nothing() -> None:
    assert [batch async for batch in coalesced(numbers(0))] == []


async def test_a_slow_reader_holds_the_source_back() -> None:
    made: list[int] = []

    async def endless() -> AsyncIterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    batches = coalesced(endless(), most=10)
    assert await anext(batches) == list(range(10))
    await asyncio.sleep(0.01)
    assert len(made) <= 21
    rest = [number async for batch in batches for number in batch]
    assert rest == list(range(10, 1000))


async def test_a_failure_comes_after_the_items_before_it() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise ValueError("broken")

    batches = coalesced(failing())
    assert await anext(batches) == [1]
    with pytest.raises(ValueError, match="broken"):
        await anext(batches)


async def test_closing_closes_the_source_at_once() -> None:
    closed = asyncio.Event()

    async def waiting() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    batches = coalesced(waiting())
    assert await anext(batches) == [1]
    await batches.aclose()
    assert closed.is_set()
