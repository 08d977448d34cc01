"""A hard budget under a crowd."""

import asyncio

from deployments.protocols import ProviderRequest
from deployments.provider_caller.money.errors import BudgetExceededError
from tests.deployments.provider_caller.exchange.conftest import Budget, Desk, billed, recorded, request_to

CALLS = 200
ENOUGH_FOR = 60
PROMPT, ANSWER = 6, 12
COST = PROMPT * 150 + ANSWER * 600
"""Nano-dollars of an answer by gpt-4o-mini."""


async def test_two_hundred_calls_at_once_never_spend_more_than_the_budget(desk: Desk, budget: Budget) -> None:
    amount = ENOUGH_FOR * COST
    account = await budget(amount)

    def call(number: int) -> ProviderRequest:
        """Streams and whole answers in turn."""
        fields = {"max_completion_tokens": ANSWER, "stream": bool(number % 2)}
        return request_to("openai", models={"openai": "gpt-4o-mini"}, account=account, timeout=20, **fields)

    requests = [call(number) for number in range(CALLS)]
    answers = await asyncio.gather(*(desk.run(request) for request in requests))
    refused = [answered for answered in answers if answered.error]
    assert all(isinstance(answered.error, BudgetExceededError) for answered in refused)
    served = [request for request, answered in zip(requests, answers, strict=True) if not answered.error]
    rows = [row for request in served for row in await desk.rows(request)]
    ids = {request.request_id for request in requests}
    bills = [bill for bill in desk.simulated.bills() if bill["request_id"] in ids]
    assert 0 < len(served) <= ENOUGH_FOR
    assert sum(row["cost_nano"] for row in rows) == len(served) * COST <= amount
    assert recorded(rows) == billed(bills)

    # One after the other, what was held and not used comes back, until less is left than a call can cost.
    while not (await desk.run(call(0))).error:
        await desk.stage.ledger.drain()
    spent = await desk.databases.pool("penstock_t_default").fetchval(
        "SELECT sum(cost_nano)::bigint FROM usage_ledger WHERE key_id = $1", account.key_id
    )
    assert amount // 2 < spent <= amount
