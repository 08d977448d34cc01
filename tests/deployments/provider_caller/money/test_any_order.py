"""Whatever happens in whatever order, a hard budget behaves as a model of forty lines says."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.provider_caller.money.errors import BudgetExceededError

AMOUNT = 100
REPLICAS = st.integers(0, 1)
STEPS = st.one_of(
    st.tuples(st.just("admit"), REPLICAS, st.integers(1, 40)),
    st.tuples(st.just("record"), st.integers(0, 20), st.none() | st.integers(0, 40)),
    st.tuples(st.just("release"), st.integers(0, 20), st.none()),
    st.tuples(st.sampled_from(["settle", "commit", "crash"]), REPLICAS, st.none()),
    st.tuples(st.sampled_from(["flush", "expire"]), st.just(0), st.none()),
)


@dataclass(eq=False)
class Held:
    """A call. charge: once it is recorded. committed: its row is in Postgres. leaving: given back, not settled."""

    replica: Any
    lease: Any
    hold: Any
    claim: Any
    amount: int
    charge: int | None = None
    committed: bool = False
    leaving: bool = False


@dataclass
class Model:
    spent: int = 0
    held: list[Held] = field(default_factory=list)

    def covers(self, cost: int) -> bool:
        return self.spent + sum(call.amount for call in self.held) + cost <= AMOUNT

    def close(self, call: Held, charge: int) -> None:
        self.held.remove(call)
        self.spent += charge

    def settled(self, replica: Any) -> None:
        for call in [call for call in self.held if call.replica is replica]:
            if call.charge is not None:
                self.close(call, call.charge)
            elif call.leaving:
                self.close(call, 0)

    def expired(self) -> None:
        """A charge that was committed stands; of any other call nobody knows what it cost."""
        for call in [call for call in self.held if call.replica.killed]:
            self.close(call, call.charge if call.committed and call.charge is not None else call.amount)

    def flushed(self) -> None:
        """Holds of dead replicas go with Redis, their committed rows do not."""
        for call in [call for call in self.held if call.replica.killed]:
            self.close(call, call.charge if call.committed and call.charge is not None else 0)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=20))
async def test_a_hard_budget_is_what_the_model_says(bench: Any, make_row: Any, steps: list[Any]) -> None:
    await bench.clean()
    id = await bench.budget(AMOUNT)
    pair = [await bench.replica(settle_every=3600, shared=True) for _ in range(2)]
    model = Model()
    try:
        for kind, number, value in steps:
            await step(bench, make_row, model, pair, kind, number, value)
            spent, reserved = await bench.counter(id)
            assert (spent or 0) + reserved <= AMOUNT
            assert (await charged(bench)) <= AMOUNT
        for replica in pair:
            await replica.settle()
            model.settled(replica)
            await replica.kill()
        last = await bench.replica(shared=True)
        bench.advance(seconds=91)
        assert await last.ledger.reconciler.reconcile()
        model.expired()
        assert await charged(bench) == model.spent
        spent, reserved = await bench.counter(id)
        assert reserved == 0
        assert spent in (None, model.spent)
    finally:
        for replica in bench.replicas:
            await replica.close()
        bench.replicas.clear()


async def step(bench: Any, make_row: Any, model: Model, pair: list[Any], kind: str, number: int, value: Any) -> None:
    idle = [call for call in model.held if call.charge is None and not call.leaving and not call.replica.killed]
    match kind:
        case "admit":
            claim, replica = bench.claim(value), pair[number]
            try:
                lease = await replica.admission.admit(claim)
            except BudgetExceededError:
                assert not model.covers(value)
            else:
                assert model.covers(value)
                model.held.append(Held(replica, lease, await lease.hold(value), claim, value))
        case "record" if idle:
            call = idle[number % len(idle)]
            call.charge = call.amount if value is None else min(value, call.amount)
            cost = None if value is None else call.charge
            call.replica.ledger.record(make_row(call.claim, cost), call.hold)
            call.lease.release()
        case "release" if idle:
            call = idle[number % len(idle)]
            call.lease.release()
            call.leaving = True
        case "settle":
            await pair[number].settle()
            model.settled(pair[number])
        case "commit":
            await pair[number].ledger._flush()
            for call in model.held:
                call.committed = call.committed or (call.replica is pair[number] and call.charge is not None)
        case "crash":
            await pair[number].kill()
            pair[number] = await bench.replica(settle_every=3600, shared=True)
        case "flush":
            await bench.wipe_redis()
            for replica in pair:
                await replica.admission._upkeep.look()
            model.flushed()
        case "expire":
            for call in idle:
                call.lease.release()
                call.leaving = True
            for replica in pair:
                await replica.settle()
                model.settled(replica)
            bench.advance(seconds=91)
            assert await pair[0].ledger.reconciler.reconcile()
            model.expired()


async def charged(bench: Any) -> int:
    total: int = await bench.ledger("coalesce(sum(coalesce(cost_nano, reserved_nano, 0)), 0)::bigint")
    return total
