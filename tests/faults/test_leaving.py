"""A client that closes its connection in the middle of a stream, seen from the provider."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from kit.ids import uuid7
from tests.faults.cases import PATHS, QUESTION, SURFACES, Case, Surface
from tests.faults.conftest import TENANTS, Product

HEARD = 0.1
"""Seconds in which a provider sees that the call is over."""
TRIES = 3
"""Of which one must be in time: a machine that others use is slow at times."""


async def cancelled_at(product: Product, request_id: str) -> float:
    for _ in range(100):
        found = [one for one in product.simulated.counts()["cancelled"] if one["request_id"] == request_id]
        if found:
            return float(found[0]["at_ms"]) / 1000
        await asyncio.sleep(0.02)
    raise AssertionError("the provider never heard")


@pytest.fixture(scope="module")
async def product(start_product: Any) -> AsyncIterator[Product]:
    async with start_product() as started:
        yield started


async def leave(product: Product, body: dict[str, Any], surface: Surface, request_id: str) -> float:
    """Close the connection once five tokens have come; when that was, Unix seconds."""
    headers = {"authorization": f"Bearer {product.keys[False]}", "x-request-id": request_id}
    async with (
        aiohttp.ClientSession(product.url) as session,
        session.post(PATHS[surface], json=body, headers=headers) as response,
    ):
        assert response.status == 200
        while [bill["output"] for bill in product.simulated.bills() if bill["request_id"] == request_id] != [5]:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)  # They are on their way.
        left = time.time()
        response.close()
    return left


@pytest.mark.parametrize("native", [True, False], ids=["same dialect", "translated"])
@pytest.mark.parametrize("surface", SURFACES)
async def test_the_provider_hears_at_once_that_the_client_has_left(
    product: Product, surface: Surface, native: bool
) -> None:
    asked = f"{QUESTION} [[stall_mid:5]]"
    given = {"input": asked} if surface == "responses" else {"messages": [{"role": "user", "content": asked}]}
    body = Case("stall_mid", surface, True, native, False).body | given
    heard = []
    for _ in range(TRIES):
        request_id = f"left-{uuid7().hex}"
        left = await leave(product, body, surface, request_id)
        heard.append(await cancelled_at(product, request_id) - left)
        await product.stage.ledger.drain()
        database = product.databases.pool(f"penstock_t_{TENANTS[False]}")
        rows = await database.fetch("SELECT * FROM usage_ledger WHERE request_id = $1", request_id)
        assert [(row["outcome"], row["output_tokens"], row["estimated"]) for row in rows] == [("cancelled", 5, True)]
        if heard[-1] <= HEARD:
            return
    raise AssertionError(heard)
