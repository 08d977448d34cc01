"""A client that leaves: the provider hears of it at once, and what was used is charged."""

import asyncio
import time

import pytest

from deployments.protocols import ProviderRequest
from tests.deployments.provider_caller.exchange.conftest import Desk, billed, recorded, request_to
from tests.simulated import MODELS

HEARD = 0.1
"""Seconds in which a provider sees that the call is over."""
TRIES = 3
"""Of which one must be in time: a machine that others use is slow at times."""


async def cancelled_at(desk: Desk, request: ProviderRequest) -> float:
    """When the provider saw its client leave, Unix seconds."""
    for _ in range(40):
        found = [one for one in desk.simulated.counts()["cancelled"] if one["request_id"] == request.request_id]
        if found:
            return float(found[0]["at_ms"]) / 1000
        await asyncio.sleep(0.02)
    raise AssertionError("the provider never heard")


async def leave(desk: Desk, request: ProviderRequest, *, after: int) -> float:
    """Cancel a request once so many tokens were sent to it; when that was, Unix seconds."""
    task = asyncio.create_task(desk.run(request))
    while [bill["output"] for bill in desk.bills(request)] != [after]:
        assert not task.done(), task.result()
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)  # They are on their way.
    left = time.time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return left


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic_messages"])
@pytest.mark.parametrize("provider", MODELS)
async def test_leaving_in_the_middle_of_a_stream_costs_what_had_passed(desk: Desk, provider: str, dialect: str) -> None:
    request = request_to(provider, dialect=dialect, stream=True, question="Tell me all. [[stall_mid:5]]")
    await leave(desk, request, after=5)
    await cancelled_at(desk, request)
    (row,) = await desk.rows(request)
    assert (row["outcome"], row["output_tokens"], row["estimated"]) == ("cancelled", 5, True)
    assert row["cost_nano"] > 0
    assert recorded([row]) == billed(desk.bills(request))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["stall_before", "stall_first"])
async def test_leaving_before_anything_came_costs_the_prompt(desk: Desk, fault: str, stream: bool) -> None:
    request = request_to("openai", stream=stream, question=f"Anybody? [[{fault}]]")
    await leave(desk, request, after=0)
    await cancelled_at(desk, request)
    (row,) = await desk.rows(request)
    assert (row["outcome"], row["output_tokens"]) == ("cancelled", 0)
    assert row["input_tokens"] > 0
    assert recorded([row]) == billed(desk.bills(request))


@pytest.mark.parametrize("fault", ["stall_before", "stall_mid:5"])
async def test_the_provider_hears_within_a_tenth_of_a_second(desk: Desk, fault: str) -> None:
    heard = []
    for _ in range(TRIES):
        request = request_to("openai", stream=True, question=f"Still there? [[{fault}]]")
        left = await leave(desk, request, after=5 if fault == "stall_mid:5" else 0)
        heard.append(await cancelled_at(desk, request) - left)
        if heard[-1] <= HEARD:
            return
    raise AssertionError(heard)
