"""What a request leaves in the ledger is what the provider bills, whatever goes wrong on the way."""

from typing import Any

import pytest

from deployments.protocols import ProviderRequest, StreamStart
from kit.errors import PenstockError

SPENT = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cached": "cached_tokens",
    "cache_write": "cache_write_tokens",
}


async def rows_of(stage: Any, databases: Any, request: ProviderRequest) -> list[dict[str, Any]]:
    await stage.ledger.drain()
    statement = "SELECT * FROM usage_ledger WHERE request_id = $1 ORDER BY attempt"
    return [dict(row) for row in await databases.pool("penstock_t_default").fetch(statement, request.request_id)]


def bills_of(simulated: Any, request: ProviderRequest) -> list[dict[str, Any]]:
    return [bill for bill in simulated.bills() if bill["request_id"] == request.request_id]


async def run(stage: Any, request: ProviderRequest, *, stream: bool) -> tuple[Any, bytes, Any]:
    """The start or reply, the events, the end or the error."""
    try:
        if not stream:
            return await stage.complete(request), b"", None
        start, body, end = None, b"", None
        async for item in stage.stream(request):
            if isinstance(item, bytes):
                body += item
            elif isinstance(item, StreamStart):
                start = item
            else:
                end = item
        return start, body, end
    except PenstockError as error:
        return None, b"", error


def totals(rows: list[dict[str, Any]], names: dict[str, str], ours: bool) -> dict[str, int]:
    return {name: sum(row[column if ours else name] for row in rows) for name, column in names.items()}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "anthropic_messages"])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "groq", "google", "perplexity"])
async def test_an_answer_costs_what_the_provider_bills(
    stage: Any, simulated: Any, databases: Any, ask: Any, provider: str, dialect: str, stream: bool
) -> None:
    request = ask(provider, dialect=dialect, stream=stream)
    answer, _body, end = await run(stage, request, stream=stream)
    assert answer is not None, end
    assert answer.provider == provider
    (row,) = await rows_of(stage, databases, request)
    (bill,) = bills_of(simulated, request)
    assert totals([row], SPENT, True) == totals([bill], SPENT, False)
    assert (row["outcome"], row["estimated"]) == ("ok", False)
    assert row["cost_nano"] == (end.usage if stream else answer.usage).cost
    assert row["cost_nano"] > 0
    if stream:
        assert end.complete
        assert row["first_token_ms"] <= row["latency_ms"]


FAULTS = {
    # fault: (outcome of the first attempt whole, the same streaming); None: the provider cannot do it there
    "429": ("failed", "failed"),
    "429_retry_after": ("failed", "failed"),
    "429_quota": ("failed", "failed"),
    "500": ("failed", "failed"),
    "503": ("failed", "failed"),
    "529": ("failed", "failed"),
    "refuse": ("failed", "failed"),
    "html": ("failed", "failed"),
    "empty": ("failed", "failed"),
    "error_200": ("failed", "failed"),
    "garbled": ("failed", None),
    "stall_before": ("cancelled", "cancelled"),
    "stall_first": ("cancelled", "cancelled"),
    "stall_mid": (None, "broken_off"),
    "cut_mid_event": ("failed", "broken_off"),
    "cut_clean": (None, "broken_off"),
    "error_mid": (None, "broken_off"),
    "missing_done": (None, "ok"),
    "duplicate_usage": (None, "ok"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_is_accounted_as_it_is_billed(
    stage: Any, simulated: Any, databases: Any, ask: Any, fault: str, provider: str, stream: bool
) -> None:
    expected = FAULTS[fault][stream]
    if expected is None:
        pytest.skip("no such fault here")
    dialect = "anthropic_messages" if provider == "anthropic" else "openai_chat"
    other = "openai" if provider == "anthropic" else "anthropic"
    simulated.control(faults={provider: {"queue": [fault] * 3}})
    request = ask(provider, other, dialect=dialect, stream=stream, timeout=1.5)
    _answer, _body, end = await run(stage, request, stream=stream)
    rows = await rows_of(stage, databases, request)
    assert rows[0]["outcome"] == expected, rows
    assert totals(rows, SPENT, True) == totals(bills_of(simulated, request), SPENT, False), (rows, end)
