"""What a request leaves in the ledger is what the provider bills, whatever goes wrong on the way."""

import asyncio
from typing import Any

import pytest

from tests.deployments.provider_caller.exchange.conftest import Desk, billed, recorded, request_to
from tests.simulated import MODELS, STALLS

DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages")
AT_ONCE = 24
"""Few enough that no call is taken for a silent one."""


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("provider", MODELS)
async def test_an_answer_costs_what_the_provider_bills(desk: Desk, provider: str, dialect: str, stream: bool) -> None:
    request = request_to(provider, dialect=dialect, stream=stream)
    answered = await desk.run(request)
    answer = answered.start if stream else answered.reply
    assert answer is not None, answered.error
    assert answer.provider == provider
    rows, bills = await desk.rows(request), desk.bills(request)
    assert recorded(rows) == billed(bills)
    (row,) = rows
    assert (row["outcome"], row["estimated"]) == ("ok", False)
    assert row["output_tokens"] >= 12
    usage = answered.end.usage if answered.end else answered.reply.usage  # type: ignore[union-attr]
    assert row["cost_nano"] == usage.cost > 0  # type: ignore[union-attr, operator]
    if answered.end:
        assert answered.end.complete
        assert row["first_token_ms"] <= row["latency_ms"]


FAULTS = {
    # fault: (outcome of the first attempt at a whole answer, at a stream)
    "429": ("failed", "failed"),
    "429_retry_after": ("failed", "failed"),
    "429_quota": ("failed", "failed"),
    "500": ("failed", "failed"),
    "503": ("failed", "failed"),
    "529": ("failed", "failed"),
    "context_length": ("failed", "failed"),
    "bad_tool_schema": ("failed", "failed"),
    "unknown_model": ("failed", "failed"),
    "refuse": ("failed", "failed"),
    "html": ("failed", "failed"),
    "empty": ("failed", "failed"),
    "error_200": ("failed", "failed"),
    "stall_before": ("cancelled", "cancelled"),
    "stall_first": ("cancelled", "cancelled"),
    "slow_bytes": ("cancelled", "cancelled"),
    "stall_mid": ("cancelled", "broken_off"),
    "cut_mid_event": ("failed", "broken_off"),
    "cut_clean": ("failed", "broken_off"),
    "garbled": ("failed", "broken_off"),
    "error_mid": ("failed", "broken_off"),
    "missing_done": ("failed", "ok"),
    "duplicate_usage": ("ok", "ok"),
}


def expected(fault: str, provider: str, dialect: str, stream: bool) -> str:
    asked_in_responses = provider == "perplexity" or (dialect == "openai_responses" and provider in ("openai", "groq"))
    if fault == "missing_done" and stream and asked_in_responses:
        return "broken_off"  # Their last event is more than an end: it holds the usage and the whole answer.
    return FAULTS[fault][stream]


@pytest.mark.parametrize("provider", MODELS)
async def test_every_fault_is_accounted_as_it_is_billed(desk: Desk, hasty: Desk, provider: str) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def wrong(fault: str, dialect: str, stream: bool) -> Any:
        asked, timeout = (hasty, 1.0) if fault in STALLS else (desk, 30.0)
        request = request_to(provider, dialect=dialect, stream=stream, question=f"Why? [[{fault}]]", timeout=timeout)
        async with slots:
            answered = await asked.run(request)
        rows, bills = await asked.rows(request), asked.bills(request)
        outcome = rows[0]["outcome"] if rows else None
        if outcome == expected(fault, provider, dialect, stream) and recorded(rows) == billed(bills):
            return None
        return fault, dialect, stream, outcome, recorded(rows), billed(bills), answered

    cases = [(fault, dialect, stream) for fault in FAULTS for dialect in DIALECTS for stream in (False, True)]
    found = await asyncio.gather(*(wrong(*case) for case in cases))
    assert [case for case in found if case] == []
