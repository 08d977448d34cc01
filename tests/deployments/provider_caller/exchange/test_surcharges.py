"""A call that asks for more than tokens has no cost that anybody knows."""

from typing import Any

import pytest

from kit.errors import UnprocessableError
from tests.deployments.provider_caller.exchange.conftest import Budget, Desk, request_to

PRIORITY: dict[str, Any] = {"service_tier": "priority"}


async def test_its_cost_is_unknown_and_not_that_of_its_tokens(desk: Desk) -> None:
    request = request_to("openai", **PRIORITY)
    answered = await desk.run(request)
    assert answered.reply is not None, answered.error
    (row,) = await desk.rows(request)
    assert row["output_tokens"] > 0
    assert row["cost_nano"] is None


async def test_a_hard_budget_refuses_it_by_the_field_that_asks_for_it(desk: Desk, budget: Budget) -> None:
    request = request_to("openai", account=await budget(10**9), **PRIORITY)
    answered = await desk.run(request)
    assert isinstance(answered.error, UnprocessableError)
    assert list(answered.error.details) == ["service_tier"]
    assert desk.bills(request) == []
    assert (await desk.run(request_to("openai", account=request.account))).reply


@pytest.mark.parametrize("tier", ["auto", "default"])
async def test_the_standard_tier_has_its_price(desk: Desk, tier: str) -> None:
    request = request_to("openai", service_tier=tier)
    await desk.run(request)
    (row,) = await desk.rows(request)
    assert row["cost_nano"] > 0
