"""Rates and slots, through Redis and without it."""

import asyncio
from typing import Any

import pytest

from deployments.provider_caller.money.limits import Left, headers_of
from deployments.provider_caller.money.refusals import duration
from kit.errors import RateLimitError


async def test_requests_per_minute_hold_for_all_replicas_together(bench: Any) -> None:
    await bench.limit(requests=4)
    replicas = [await bench.replica(), await bench.replica()]
    for number in range(4):
        await replicas[number % 2].admission.admit(bench.claim())
    with pytest.raises(RateLimitError, match="4 requests per minute for your tenant") as caught:
        await replicas[0].admission.admit(bench.claim())
    assert 14 < caught.value.retry_after <= 15


async def test_limits_of_tenant_user_key_and_agent_all_apply(bench: Any) -> None:
    await bench.limit(requests=100)
    await bench.limit(scope="user", subject="u1", requests=3)
    await bench.limit(scope="key", subject="k1", requests=2)
    await bench.limit(scope="agent", subject="a1", requests=1)
    replica = await bench.replica()
    await replica.admission.admit(bench.claim(agent_id="a1"))
    for account, words in (({"agent_id": "a1"}, "this agent"), ({}, "this API key"), ({"key_id": "k2"}, "your user")):
        if words != "this agent":
            await replica.admission.admit(bench.claim(**account))
        with pytest.raises(RateLimitError, match=words):
            await replica.admission.admit(bench.claim(**account))
    lease = await replica.admission.admit(bench.claim(key_id="k2", user_id="u2"))
    assert lease.headers()["x-ratelimit-limit-requests"] == "100"
    # What was refused took nothing: three of u1 and one of u2.
    assert lease.headers()["x-ratelimit-remaining-requests"] == "96"


async def test_tokens_are_taken_by_the_bound_and_corrected_by_what_was_used(bench: Any) -> None:
    await bench.limit(tokens=1000, requests=10)
    replica = await bench.replica()
    lease = await replica.admission.admit(bench.claim(tokens=900))
    assert lease.headers()["x-ratelimit-remaining-tokens"] == "100"
    assert lease.headers()["x-ratelimit-reset-tokens"].startswith("5")
    with pytest.raises(RateLimitError, match="1000 tokens per minute"):
        await replica.admission.admit(bench.claim(tokens=900))
    lease.release()
    await replica.settle()
    await replica.call(bench.claim(tokens=900), 1)
    await replica.settle()
    lease = await replica.admission.admit(bench.claim(tokens=900))
    assert 50 <= int(lease.headers()["x-ratelimit-remaining-tokens"]) <= 60


async def test_one_call_after_the_other_fits_into_a_cap_of_one(bench: Any) -> None:
    await bench.limit(concurrency=1)
    replica = await bench.replica(settle_every=60)
    (await replica.admission.admit(bench.claim())).release()
    async with asyncio.timeout(5):  # and not the minute after which batches are settled
        while True:
            try:
                await replica.admission.admit(bench.claim())
                break
            except RateLimitError:
                await asyncio.sleep(0.005)


async def test_slots_are_given_back_when_calls_end_and_when_replicas_die(bench: Any) -> None:
    await bench.limit(concurrency=2)
    replica, dying = await bench.replica(), await bench.replica()
    lease = await replica.admission.admit(bench.claim())
    await dying.admission.admit(bench.claim())
    with pytest.raises(RateLimitError, match="2 calls at once for your tenant"):
        await replica.admission.admit(bench.claim())
    lease.release()
    await replica.settle()
    await replica.admission.admit(bench.claim())
    await dying.kill()
    with pytest.raises(RateLimitError):
        await replica.admission.admit(bench.claim())
    bench.advance(seconds=91)
    await replica.admission.admit(bench.claim())


async def test_a_call_that_one_limit_refuses_takes_nothing_of_the_others(bench: Any) -> None:
    await bench.limit(requests=100, concurrency=50)
    id = await bench.budget(15)
    replica = await bench.replica()
    lease = await replica.admission.admit(bench.claim(10))
    for _ in range(5):
        with pytest.raises(RateLimitError):
            await replica.admission.admit(bench.claim(10))
    assert await bench.counter(id) == (0, 10)
    lease.release()
    await replica.settle()
    lease = await replica.admission.admit(bench.claim(10))
    assert lease.headers()["x-ratelimit-remaining-requests"] == "98"


def test_headers_show_the_limit_of_which_least_is_left() -> None:
    left = [Left("requests", 60, 59, 1.0), Left("requests", 10, 3, 42.0), Left("tokens", 1000, 0, 0.02)]
    assert headers_of(left) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "42s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "20ms",
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.02, "20ms"), (1.5, "1.5s"), (59.9999, "1m0s"), (360, "6m0s")]
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
