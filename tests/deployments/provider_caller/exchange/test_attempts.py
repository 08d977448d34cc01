"""Retries, fallbacks and hedges: who is asked, how soon, and what each attempt leaves in the ledger."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from kit.errors import RateLimitError, UnavailableError, UpstreamError
from tests.deployments.provider_caller.exchange.conftest import Budget, Desk, billed, recorded, request_to
from tests.simulated import PATIENT

DECISION = timedelta(seconds=0.5)
"""From a failure that is seen to the first byte sent to the fallback."""


TRIES = 3
"""Of which one must be in time: a machine that others use is slow at times."""


def seen_at(row: dict[str, Any]) -> datetime:
    """When an attempt was over."""
    return row["started_at"] + timedelta(milliseconds=row["latency_ms"])  # type: ignore[no-any-return]


def outcomes(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["provider"], row["outcome"]) for row in rows]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_attempt_that_succeeds_after_retries_is_charged_alone(desk: Desk, stream: bool) -> None:
    desk.queue("openai", "500", "refuse", None)
    request = request_to("openai", stream=stream)
    answered = await desk.run(request)
    answer = answered.start or answered.reply
    assert answer is not None
    assert answer.failure is None
    rows = await desk.rows(request)
    assert outcomes(rows) == [("openai", "failed"), ("openai", "failed"), ("openai", "ok")]
    assert [row["cost_nano"] > 0 for row in rows] == [False, False, True]
    assert recorded(rows) == billed(desk.bills(request))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["500", "503", "429", "429_retry_after:5", "429_quota", "refuse", "empty"])
async def test_a_fallback_is_decided_within_half_a_second_by_the_clocks_of_production(
    start_desk: Any, fault: str, stream: bool
) -> None:
    decided = []
    async with start_desk(retry={"first_wait": 0.1, "longest_wait_before_fallback": 0.5}) as desk:
        for _ in range(TRIES):
            request = request_to("openai", "anthropic", stream=stream)
            desk.queue("openai", *[fault] * 3)
            answered = await desk.run(request)
            rows = await desk.rows(request)
            answer = answered.start or answered.reply
            assert answer is not None
            assert (answer.provider, bool(answer.failure)) == ("anthropic", True)
            assert outcomes(rows)[-1] == ("anthropic", "ok")
            assert recorded(rows) == billed(desk.bills(request))
            decided.append(rows[-1]["started_at"] - seen_at(rows[0]))
            if decided[-1] <= DECISION:
                return
    raise AssertionError(decided)


async def test_a_stream_that_does_not_begin_goes_to_the_fallback_at_once(hasty: Desk) -> None:
    hasty.queue("openai", "stall_first")
    request = request_to("openai", "anthropic", stream=True)
    answered = await hasty.run(request)
    rows = await hasty.rows(request)
    assert outcomes(rows) == [("openai", "cancelled"), ("anthropic", "ok")]
    assert answered.end is not None
    assert answered.end.usage is not None
    assert answered.end.usage.cost == sum(row["cost_nano"] for row in rows)
    assert recorded(rows) == billed(hasty.bills(request))


async def test_without_a_fallback_nobody_else_is_asked(desk: Desk) -> None:
    """What `failover: manual` makes of a route."""
    desk.queue("openai", *["503"] * 3)
    request = request_to("openai")
    answered = await desk.run(request)
    assert isinstance(answered.error, UnavailableError)
    assert outcomes(await desk.rows(request)) == [("openai", "failed")] * 3
    assert {bill["provider"] for bill in desk.bills(request)} == {"openai"}


async def test_a_fallback_that_the_budget_does_not_cover_is_passed_over(desk: Desk, budget: Budget) -> None:
    """1,000 tokens of gpt-oss-120b cost at most 0.0006 dollars, of Sonnet 0.01."""
    account = await budget(1_000_000)
    terms: dict[str, Any] = {"account": account, "max_completion_tokens": 1000}
    request = request_to("groq", "anthropic", question="Well? [[500]]", **terms)
    answered = await desk.run(request)
    assert isinstance(answered.error, UpstreamError)
    assert {provider for provider, _ in outcomes(await desk.rows(request))} == {"groq"}
    assert {bill["provider"] for bill in desk.bills(request)} == {"groq"}

    request = request_to("groq", **terms)
    assert (await desk.run(request)).reply is not None  # What was held for the failed call was given back.


async def test_a_fallback_that_costs_more_is_reserved_for_anew(desk: Desk, budget: Budget) -> None:
    account = await budget(12_000_000)
    desk.queue("groq", *["500"] * 3)
    request = request_to("groq", "anthropic", account=account, max_completion_tokens=1000)
    answered = await desk.run(request)
    assert answered.reply is not None
    assert answered.reply.provider == "anthropic"
    rows = await desk.rows(request)
    assert rows[-1]["reserved_nano"] > 10_000_000
    assert recorded(rows) == billed(desk.bills(request))

    request = request_to("anthropic", account=account, max_completion_tokens=1_200)
    assert isinstance((await desk.run(request)).error, RateLimitError)
    assert await desk.rows(request) == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_both_attempts_of_a_hedge_are_recorded_and_charged(
    start_desk: Any, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.provider_caller.resilience.speeds.REFRESH_SECONDS", 0)
    async with start_desk(hedge={"enabled": True, "samples": 1}) as desk:
        await desk.run(request_to("openai", stream=stream))  # Now it is known what is slow.
        desk.queue("openai", "stall_before")
        request = request_to("openai", "anthropic", stream=stream)
        begun = time.monotonic()
        answered = await desk.run(request)
        assert time.monotonic() - begun < PATIENT  # Nobody waited until the first attempt was given up.
        await asyncio.sleep(0.05)  # The loser is seen off in the background.
        rows = await desk.rows(request)
        bills = desk.bills(request)
    answer = answered.start or answered.reply
    assert answer is not None
    assert answer.provider == "anthropic"
    assert sorted(outcomes(rows)) == [("anthropic", "ok"), ("openai", "cancelled")]
    assert recorded(rows) == billed(bills)


async def test_a_request_with_tools_is_not_hedged(start_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.provider_caller.resilience.speeds.REFRESH_SECONDS", 0)
    async with start_desk(hedge={"enabled": True, "samples": 1}) as desk:
        await desk.run(request_to("openai"))
        desk.queue("openai", "stall_before")
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
        request = request_to("openai", "anthropic", tools=tools, timeout=0.3)
        await desk.run(request)
        assert outcomes(await desk.rows(request)) == [("openai", "cancelled")]
