"""A hard budget is never overspent, whoever calls and whatever is lost."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from deployments.provider_caller.money.errors import BudgetExceededError
from kit.errors import RateLimitError, UnprocessableError
from kit.telemetry import METRICS


async def test_a_thousand_calls_over_two_replicas_spend_at_most_the_budget_for_five_hundred(
    bench: Any, make_row: Any
) -> None:
    id = await bench.budget(500 * 10)
    replicas = [await bench.replica(), await bench.replica()]
    passed, highest, running = 0, 0, True

    async def one(number: int) -> None:
        nonlocal passed
        claim = bench.claim(10, user_id=f"client{number % 4}")
        replica = replicas[number % 2]
        try:
            lease = await replica.admission.admit(claim)
        except BudgetExceededError:
            return
        hold = await lease.hold(10)
        await asyncio.sleep(0)
        passed += 1
        replica.ledger.record(make_row(claim, 10 if number % 3 else 7), hold)
        lease.release()

    async def watch() -> None:
        nonlocal highest
        while running:
            spent, reserved = await bench.counter(id)
            highest = max(highest, (spent or 0) + reserved)
            await asyncio.sleep(0.002)

    watcher = asyncio.create_task(watch())
    await asyncio.gather(*(one(number) for number in range(1000)))
    for replica in replicas:
        await replica.settle()
    running = False
    await watcher
    spent = await bench.ledger()
    assert 0 < highest <= 5000
    assert spent <= 5000
    assert await bench.counter(id) == (spent, 0)
    assert passed == await bench.ledger("count(*)") >= 500


async def test_what_is_dear_leaves_room_for_exactly_five_hundred(bench: Any) -> None:
    await bench.budget(500 * 10)
    replicas = [await bench.replica(), await bench.replica()]
    claims = [bench.claim(10) for _ in range(1000)]
    results = await asyncio.gather(
        *(replicas[n % 2].call(claim, 10) for n, claim in enumerate(claims)), return_exceptions=True
    )
    assert sum(isinstance(result, BudgetExceededError) for result in results) == 500
    for replica in replicas:
        await replica.settle()
    assert await bench.ledger() == 5000


async def test_a_spent_budget_says_which_it_is_and_when_its_period_ends(bench: Any) -> None:
    bench.now = datetime(2031, 5, 31, 22, tzinfo=UTC)
    id = await bench.budget(2_500_000_000, scope="user", subject="u1", period="month")
    replica = await bench.replica()
    with pytest.raises(BudgetExceededError) as caught:
        await replica.admission.admit(bench.claim(2_500_000_001))
    error = caught.value
    assert isinstance(error, RateLimitError)
    assert (error.status, error.should_retry, error.retry_after) == (429, False, 7200)
    for words in ("monthly budget of your user", str(id), "2.5 USD", "2031-06-01T00:00Z"):
        assert words in error.message
    await replica.admission.admit(bench.claim(2_500_000_000))


async def test_every_budget_on_the_way_must_cover_the_call(bench: Any) -> None:
    tenant = await bench.budget(100)
    await bench.budget(30, scope="user", subject="u1")
    await bench.budget(20, scope="agent", subject="a1")
    replica = await bench.replica()
    with pytest.raises(BudgetExceededError, match="this agent"):
        await replica.admission.admit(bench.claim(25, agent_id="a1"))
    await replica.admission.admit(bench.claim(25))
    with pytest.raises(BudgetExceededError, match="your user"):
        await replica.admission.admit(bench.claim(10))
    await replica.admission.admit(bench.claim(75, user_id="u2"))
    assert await bench.counter(tenant) == (0, 100)


async def test_what_was_not_used_is_given_back(bench: Any) -> None:
    id = await bench.budget(100)
    replica = await bench.replica()
    lease = await replica.admission.admit(bench.claim(60))
    await lease.hold(60)
    with pytest.raises(BudgetExceededError):
        await lease.hold(50)
    await lease.hold(40)
    assert await bench.counter(id) == (0, 100)
    lease.release()
    lease.release()
    await replica.settle()
    assert await bench.counter(id) == (0, 0)


async def test_a_dearer_first_attempt_reserves_anew(bench: Any) -> None:
    id = await bench.budget(100)
    replica = await bench.replica()
    lease = await replica.admission.admit(bench.claim(10))
    hold = await lease.hold(30)
    assert hold.amount == 30
    assert await bench.counter(id) == (0, 40)
    assert (await lease.hold(10)).amount == 10
    assert await bench.counter(id) == (0, 40)


async def test_a_new_period_begins_with_nothing_spent_and_calls_belong_to_theirs(bench: Any, make_row: Any) -> None:
    bench.now = datetime(2031, 5, 31, 23, 59, 59, tzinfo=UTC)
    day, month = await bench.budget(100), await bench.budget(200, period="month")
    replica = await bench.replica()
    claim = bench.claim(90)
    lease = await replica.admission.admit(claim)
    hold = await lease.hold(90)
    bench.advance(seconds=2)
    assert await bench.counter(day) == (None, 0)
    await replica.call(bench.claim(80), 80)
    replica.ledger.record(make_row(claim, 85, started_at=bench.now), hold)
    lease.release()
    await replica.settle()
    assert await bench.counter(day) == (80, 0)
    assert await bench.counter(month, "month") == (80, 0)
    bench.advance(seconds=-2)
    assert await bench.counter(day) == (85, 0)
    assert await bench.counter(month, "month") == (85, 0)


async def test_an_unknown_price_is_refused_under_a_hard_budget_and_flagged_under_an_alert(bench: Any) -> None:
    await bench.budget(100, scope="user", subject="u1")
    alert = await bench.budget(100, mode="alert")
    replica = await bench.replica()
    with pytest.raises(UnprocessableError, match="mock/echo") as caught:
        await replica.admission.admit(bench.claim(None))
    assert "price table" in caught.value.message
    assert list(caught.value.details) == ["model"]
    await replica.call(bench.claim(None, user_id="u2"), None)
    await replica.settle()
    assert await bench.counter(alert) == (0, 0)
    assert await bench.ledger("count(*) FILTER (WHERE cost_nano IS NULL)") == 1


async def test_a_fallback_of_unknown_price_is_refused_though_the_first_target_had_one(bench: Any) -> None:
    """What was reserved for the first target says nothing of what another may cost."""
    id = await bench.budget(100)
    replica = await bench.replica()
    lease = await replica.admission.admit(bench.claim(60))
    with pytest.raises(UnprocessableError, match="the price of compatible/model is unknown"):
        await lease.hold(None, provider="compatible", model="model")
    assert (await lease.hold(60)).amount == 60
    lease.release()
    await replica.settle()
    assert await bench.counter(id) == (0, 0)


async def test_an_alert_never_refuses_and_each_threshold_is_told_once(bench: Any) -> None:
    id = await bench.budget(100, mode="alert")
    replicas = [await bench.replica(), await bench.replica()]

    def told(threshold: str) -> float:
        return METRICS.read("penstock_budget_alerts_total", tenant=bench.tenant, threshold=threshold)

    before = told("80%"), told("100%")
    for number in range(12):
        await replicas[number % 2].call(bench.claim(10), 10)
        await asyncio.sleep(0.02)
        await replicas[number % 2].settle()
    assert await bench.counter(id) == (120, 0)
    assert (told("80%") - before[0], told("100%") - before[1]) == (1, 1)


async def test_a_charge_of_unknown_size_costs_the_budget_what_was_held(bench: Any) -> None:
    id = await bench.budget(100)
    replica = await bench.replica()
    await replica.call(bench.claim(60), None)
    await replica.settle()
    assert await bench.counter(id) == (60, 0)


async def test_a_budget_counts_what_was_spent_before_it_was_made(bench: Any) -> None:
    replica = await bench.replica()
    for _ in range(3):
        await replica.call(bench.claim(None), 30)
    await replica.settle()
    id = await bench.budget(100)
    with pytest.raises(BudgetExceededError, match=r"0\.00000009 USD spent"):
        await replica.admission.admit(bench.claim(11))
    await replica.admission.admit(bench.claim(10))
    assert await bench.counter(id) == (90, 10)


async def test_an_account_without_budget_and_limit_asks_redis_nothing(bench: Any) -> None:
    await bench.budget(100, scope="user", subject="somebody")
    replica = await bench.replica()
    replica.admission._asking = None
    replica.admission._scripts.settle = None
    lease = await replica.admission.admit(bench.claim(10))
    assert (await lease.hold(10)).counters == ()
    assert lease.headers() == {}
    lease.release()
