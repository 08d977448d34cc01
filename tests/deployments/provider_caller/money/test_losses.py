"""What happens to money when something dies or goes away."""

import asyncio
from typing import Any

import pytest

from deployments.provider_caller.money import keys
from deployments.provider_caller.money.errors import BudgetExceededError
from kit.errors import RateLimitError, UnavailableError
from kit.telemetry import METRICS


async def test_an_emptied_redis_loses_neither_what_was_spent_nor_what_is_held(bench: Any) -> None:
    id = await bench.budget(100)
    first, second = await bench.replica(), await bench.replica()
    await first.call(bench.claim(30), 30)
    await first.settle()
    await second.admission.admit(bench.claim(50))
    await bench.wipe_redis()
    await second.admission._upkeep.look()
    with pytest.raises(BudgetExceededError):
        await first.admission.admit(bench.claim(21))
    assert await bench.counter(id) == (30, 50)
    await first.admission.admit(bench.claim(20))


async def test_after_redis_lost_its_data_hard_budgets_wait_until_replicas_have_reported(bench: Any) -> None:
    await bench.budget(100, scope="user", subject="u1")
    await bench.budget(100, mode="alert")
    replica = await bench.replica(rebuild_pause=3)
    bench.advance(seconds=10)
    await replica.admission.admit(bench.claim(10))
    await bench.wipe_redis()
    with pytest.raises(UnavailableError, match="running calls are being counted") as caught:
        await replica.admission.admit(bench.claim(10))
    assert caught.value.retry_after == 3
    await replica.admission.admit(bench.claim(10, user_id="u2"))
    bench.advance(seconds=3)
    await replica.admission.admit(bench.claim(10))


async def test_a_restarted_redis_is_summed_up_again(bench: Any) -> None:
    id = await bench.budget(100)
    replica = await bench.replica()
    await replica.call(bench.claim(60), 60)
    await replica.settle()
    await bench.redis.hset(keys.counter(bench.tenant, id, "day", bench.now), "spent", 5)
    await bench.redis.set(keys.EPOCH, "another-run 0 x")
    await replica.admission._upkeep.look()
    with pytest.raises(BudgetExceededError):
        await replica.admission.admit(bench.claim(41))
    assert await bench.counter(id) == (60, 0)


async def test_a_call_whose_replica_died_before_its_row_was_written_is_lost_but_visible(bench: Any) -> None:
    id = await bench.budget(100)
    dying, other = await bench.replica(reserve_margin=60), await bench.replica()
    claim = bench.claim(60, agent_id="a1")
    await dying.admission.admit(claim)
    await dying.kill()
    assert await other.ledger.reconciler.reconcile()
    assert await bench.rows() == []
    bench.advance(seconds=claim.timeout + 61)
    lost_before = METRICS.read("penstock_lost_calls_total", tenant=bench.tenant)
    for _ in range(2):
        assert await other.ledger.reconciler.reconcile()
    [row] = await bench.rows()
    assert (row["outcome"], row["cost_nano"], row["reserved_nano"], row["estimated"]) == ("lost", None, 60, True)
    assert (row["request_id"], row["user_id"], row["key_id"], row["agent_id"]) == (claim.request_id, "u1", "k1", "a1")
    assert (row["provider"], row["model"], row["input_tokens"]) == ("mock", "echo", 100)
    assert await bench.counter(id) == (60, 0)
    assert METRICS.read("penstock_lost_calls_total", tenant=bench.tenant) - lost_before == 1
    with pytest.raises(BudgetExceededError):
        await other.admission.admit(bench.claim(41))


async def test_a_replica_that_died_between_the_commit_and_the_settlement_is_settled_by_another(bench: Any) -> None:
    id = await bench.budget(100)
    dying, other = await bench.replica(), await bench.replica()
    await other.call(bench.claim(10), 10)
    dying.ledger._settlement.put = lambda *_: None  # type: ignore[method-assign]
    await dying.call(bench.claim(60), 45)
    await dying.ledger.drain()
    await dying.kill()
    await other.settle()
    assert await bench.counter(id) == (10, 60)
    bench.advance(seconds=91)
    for _ in range(2):
        assert await other.ledger.reconciler.reconcile()
    assert await bench.counter(id) == (55, 0)
    assert await bench.ledger("count(*)") == 2
    assert await bench.ledger() == 55


async def test_a_replica_that_was_only_paused_puts_its_row_in_the_place_of_the_lost_one(
    bench: Any, make_row: Any
) -> None:
    id = await bench.budget(100)
    paused, other = await bench.replica(), await bench.replica()
    claim = bench.claim(60)
    lease = await paused.admission.admit(claim)
    hold = await lease.hold(60)
    bench.advance(seconds=91)
    await other.ledger.reconciler.reconcile()
    assert await bench.counter(id) == (60, 0)
    paused.ledger.record(make_row(claim, 25), hold)
    lease.release()
    await paused.settle()
    [row] = await bench.rows()
    assert (row["outcome"], row["cost_nano"]) == ("ok", 25)
    assert await bench.counter(id) == (25, 0)


async def test_drift_is_mended_and_counted(bench: Any) -> None:
    id = await bench.budget(100)
    replica = await bench.replica()
    await replica.call(bench.claim(10), 10)
    await replica.settle()
    await replica.admission.admit(bench.claim(20))
    name = keys.counter(bench.tenant, id, "day", bench.now)
    await bench.redis.hincrby(name, "spent", 7)
    await bench.redis.hincrby(name, "reserved", -5)
    before = METRICS.read("penstock_budget_drift_nanodollars_total", tenant=bench.tenant)
    await replica.ledger.reconciler.reconcile()
    assert await bench.counter(id) == (10, 20)
    assert METRICS.read("penstock_budget_drift_nanodollars_total", tenant=bench.tenant) - before == 7


async def test_one_replica_reconciles_at_a_time(bench: Any) -> None:
    replica = await bench.replica()
    await bench.redis.set(keys.RECONCILER, "another")
    assert not await replica.ledger.reconciler.reconcile()


async def test_without_redis_hard_budgets_refuse_and_the_rest_goes_on(
    bench: Any, redis_proxy: Any, make_row: Any
) -> None:
    await bench.budget(100, scope="user", subject="u1")
    alert = await bench.budget(100, mode="alert")
    await bench.limit(requests=3, concurrency=2)
    replica = await bench.replica(redis_url=redis_proxy.url, redis_pause=0)
    await replica.admission.admit(bench.claim(10))
    await redis_proxy.cut()
    with pytest.raises(UnavailableError, match="Redis is lost"):
        await replica.admission.admit(bench.claim(10))
    state = replica.admission.state()
    assert (state.healthy, "hard budgets refuse" in state.message) == (False, True)
    leases = [await replica.admission.admit(bench.claim(10, user_id="u2")) for _ in range(2)]
    with pytest.raises(RateLimitError, match="2 calls at once"):
        await replica.admission.admit(bench.claim(10, user_id="u2"))
    for lease in leases:
        lease.release()
    last = await replica.admission.admit(bench.claim(10, user_id="u2"))
    last.release()
    with pytest.raises(RateLimitError, match="3 requests per minute"):
        await replica.admission.admit(bench.claim(10, user_id="u2"))
    replica.ledger.record(make_row(bench.claim(10), 10), await last.hold(10))
    await replica.ledger.drain()
    await redis_proxy.mend()
    await replica.settle()
    assert replica.admission.state().healthy is False
    await replica.admission.admit(bench.claim(10))
    assert replica.admission.state().healthy
    assert await bench.ledger() == 10
    assert (await bench.counter(alert))[0] == 10


async def test_an_admission_that_redis_did_not_answer_is_given_back(bench: Any) -> None:
    id = await bench.budget(100)
    replica = await bench.replica(redis_pause=0)
    await replica.admission.admit(bench.claim(1))
    ask = replica.admission._asking.ask

    async def answers_nobody(*of: Any) -> Any:
        await ask(*of)
        raise ConnectionResetError

    replica.admission._asking.ask = answers_nobody  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        await replica.admission.admit(bench.claim(50))
    assert await bench.counter(id) == (0, 51)
    await replica.settle()
    assert await bench.counter(id) == (0, 1)


async def test_what_a_client_repeats_after_a_broken_connection_happens_once(bench: Any, make_row: Any) -> None:
    id = await bench.budget(100)
    await bench.limit(concurrency=1)
    replica = await bench.replica()
    ask, settle = replica.admission._asking.ask, replica.ledger._settlement._scripts.settle

    async def asked_twice(*of: Any) -> Any:
        await ask(*of)
        return await ask(*of)

    async def settled_twice(**of: Any) -> Any:
        await settle(**of)
        return await settle(**of)

    replica.admission._asking.ask = asked_twice  # type: ignore[method-assign]
    replica.ledger._settlement._scripts.settle = settled_twice  # type: ignore[assignment]
    claim = bench.claim(60)
    lease = await replica.admission.admit(claim)
    assert await bench.counter(id) == (0, 60)
    replica.ledger.record(make_row(claim, 50), await lease.hold(60))
    await replica.ledger.drain()
    assert await bench.counter(id) == (50, 0)


async def test_a_batch_whose_settlement_nobody_heard_of_is_settled_once(bench: Any, make_row: Any) -> None:
    replica = await bench.replica(settle_every=3600)
    claim = bench.claim(60)
    lease = await replica.admission.admit(claim)
    id = await bench.budget(100)
    with pytest.raises(BudgetExceededError):
        await replica.admission.admit(bench.claim(101))
    settle = replica.ledger._settlement._scripts.settle

    async def unheard(**of: Any) -> Any:
        await settle(**of)
        raise ConnectionResetError

    replica.ledger._settlement._scripts.settle = unheard  # type: ignore[assignment]
    replica.ledger.record(make_row(claim, 50), await lease.hold(60))
    await replica.ledger.drain()
    replica.ledger._settlement._scripts.settle = settle
    await replica.ledger.drain()
    assert await bench.counter(id) == (50, 0)


async def test_cancelled_calls_ask_for_nothing_or_give_it_back(bench: Any) -> None:
    id = await bench.budget(1000)
    replica = await bench.replica()
    await replica.admission.admit(bench.claim(1))
    tasks = [asyncio.create_task(replica.admission.admit(bench.claim(10))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert all(isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*tasks, return_exceptions=True))
    await asyncio.sleep(0.05)
    await replica.settle()
    assert await bench.counter(id) == (0, 1)


async def test_a_call_that_is_cancelled_while_redis_admits_it_is_given_back(bench: Any) -> None:
    id = await bench.budget(1000)
    replica = await bench.replica()
    await replica.admission.admit(bench.claim(1))
    ask, asked = replica.admission._asking.ask, asyncio.Event()

    async def slowly_heard(*of: Any) -> Any:
        await ask(*of)
        asked.set()
        await asyncio.sleep(30)

    replica.admission._asking.ask = slowly_heard  # type: ignore[method-assign]
    task = asyncio.create_task(replica.admission.admit(bench.claim(10)))
    await asyncio.wait_for(asked.wait(), 10)
    task.cancel()
    await asyncio.wait([task])
    assert await bench.counter(id) == (0, 11)
    await replica.settle()
    assert await bench.counter(id) == (0, 1)


async def test_a_counter_that_is_made_leaves_out_what_is_committed_and_not_yet_settled(bench: Any) -> None:
    id = await bench.budget(100)
    replica = await bench.replica(settle_every=3600)
    await replica.call(bench.claim(60), 45)
    await replica.ledger._flush()
    assert await bench.ledger() == 45
    await bench.wipe_redis()
    await replica.admission._upkeep.look()
    await replica.admission.admit(bench.claim(40))
    assert await bench.counter(id) == (0, 100)
    await replica.settle()
    assert await bench.counter(id) == (45, 40)


async def test_rows_that_another_replica_has_written_and_settled_are_not_charged_again(
    bench: Any, postgres_proxy: Any
) -> None:
    id = await bench.budget(1000)
    cut_off, other = await bench.replica(database_url=postgres_proxy.url), await bench.replica()
    await cut_off.call(bench.claim(1), 1)
    await cut_off.settle()
    await postgres_proxy.cut()
    await cut_off.call(bench.claim(10), 9)
    await cut_off.ledger.drain()
    await other.ledger.reconciler.reconcile(audit=False)
    assert await bench.counter(id) == (10, 0)
    await postgres_proxy.mend()
    await cut_off.settle()
    assert await bench.counter(id) == (10, 0)
    assert await bench.ledger() == 10


async def test_a_redis_that_forgot_the_scripts_gets_them_again(bench: Any) -> None:
    await bench.budget(1000)
    replica = await bench.replica()
    await bench.redis.script_flush()
    await asyncio.gather(*(replica.admission.admit(bench.claim(10)) for _ in range(10)))


async def test_a_replica_that_starts_without_postgres_lets_nothing_past_a_budget(
    bench: Any, postgres_proxy: Any
) -> None:
    await bench.budget(5)
    await postgres_proxy.cut()
    replica = await bench.replica(database_url=postgres_proxy.url)
    with pytest.raises(UnavailableError, match="not known yet") as refused:
        await replica.admission.admit(bench.claim(10))
    assert refused.value.retry_after == 1
    await postgres_proxy.mend()
    await replica.admission.refresh()
    with pytest.raises(BudgetExceededError):
        await replica.admission.admit(bench.claim(10))


async def test_rows_wait_for_postgres_in_memory_and_in_redis_and_are_written_once(
    bench: Any, postgres_proxy: Any
) -> None:
    id = await bench.budget(1000)
    replica = await bench.replica(database_url=postgres_proxy.url, batch_rows=2)
    await replica.call(bench.claim(10), 10)
    await replica.settle()
    await postgres_proxy.cut()
    for _ in range(5):
        await replica.call(bench.claim(10), 9)
    await replica.ledger.drain()
    assert "5 rows" in replica.ledger.state().message
    assert await bench.counter(id) == (10, 50)
    assert await bench.redis.hlen(keys.spool(bench.tenant)) == 5
    await postgres_proxy.mend()
    await replica.ledger.drain()
    assert replica.ledger.state().healthy
    assert await bench.counter(id) == (55, 0)
    assert await bench.redis.hlen(keys.spool(bench.tenant)) == 0
    assert (await bench.ledger("count(*)"), await bench.ledger()) == (6, 55)


async def test_rows_of_a_replica_that_died_without_postgres_are_written_by_another(
    bench: Any, postgres_proxy: Any
) -> None:
    id = await bench.budget(1000)
    dying, other = await bench.replica(database_url=postgres_proxy.url), await bench.replica()
    await dying.call(bench.claim(1), 1)
    await dying.settle()
    await postgres_proxy.cut()
    for _ in range(3):
        await dying.call(bench.claim(10), 9)
    await dying.ledger.drain()
    await dying.kill()
    bench.advance(seconds=91)
    for _ in range(2):
        await other.ledger.reconciler.reconcile()
    assert [row["cost_nano"] for row in await bench.rows()] == [1, 9, 9, 9]
    assert await bench.counter(id) == (28, 0)


async def test_rows_that_were_committed_before_the_connection_broke_are_not_written_twice(bench: Any) -> None:
    id = await bench.budget(1000)
    replica = await bench.replica()
    append = replica.ledger._store.append

    async def committed_but_unheard(*arguments: Any) -> None:
        await append(*arguments)
        raise UnavailableError("The connection broke.")

    replica.ledger._store.append = committed_but_unheard  # type: ignore[method-assign]
    for _ in range(3):
        await replica.call(bench.claim(10), 9)
    await replica.settle()
    assert await bench.ledger("count(*)") == 3
    assert await bench.counter(id) == (27, 0)


async def test_a_row_that_postgres_cannot_hold_hinders_no_other(bench: Any, make_row: Any) -> None:
    replica = await bench.replica()
    claim = bench.claim()
    for of in ({}, {"reason": "a\0b\ud800"}, {"input_tokens": 2**70}, {}):
        replica.ledger.record(make_row(claim, 1, **of), None)
    before = METRICS.read("penstock_ledger_rows_dropped_total", tenant=bench.tenant)
    await replica.settle()
    assert sorted(row["reason"] for row in await bench.rows()) == ["ab?", "named", "named"]
    assert METRICS.read("penstock_ledger_rows_dropped_total", tenant=bench.tenant) - before == 1
    assert replica.ledger.state().healthy


async def test_with_postgres_and_redis_lost_memory_stays_bounded(bench: Any, postgres_proxy: Any) -> None:
    replica = await bench.replica(database_url=postgres_proxy.url, max_waiting_rows=3)
    await postgres_proxy.cut()

    class Lost:
        async def hset(self, *_: Any, **__: Any) -> None:
            raise ConnectionResetError

    replica.ledger._redis = Lost()  # type: ignore[assignment]
    before = METRICS.read("penstock_ledger_rows_dropped_total", tenant=bench.tenant)
    for _ in range(5):
        await replica.call(bench.claim(10), 9)
    await replica.ledger.drain()
    assert METRICS.read("penstock_ledger_rows_dropped_total", tenant=bench.tenant) - before == 2
    replica.ledger._redis = bench.redis
    await postgres_proxy.mend()
    await replica.ledger.drain()
    assert await bench.ledger("count(*)") == 3


async def test_a_closing_ledger_writes_and_settles_everything(bench: Any) -> None:
    id = await bench.budget(1000)
    replica = await bench.replica()
    for _ in range(3):
        await replica.call(bench.claim(10), 9)
    await replica.ledger.close()
    assert (await bench.ledger(), await bench.counter(id)) == (27, (27, 0))
