"""Lets a call in, or says why not: rates, slots and budgets in one Lua call.

What a call that was let in holds is a `Lease` (lease.py).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deployments.provider_caller.money import keys, refusals
from deployments.provider_caller.money.asking import Asking
from deployments.provider_caller.money.config import MoneyConfig
from deployments.provider_caller.money.counters import Counters
from deployments.provider_caller.money.hold import Hold, payload_of
from deployments.provider_caller.money.lease import Claim, Lease
from deployments.provider_caller.money.limits import Left, LocalLimits
from deployments.provider_caller.money.rules import DOMAIN, Applying, Budget, Rules, load_rules
from deployments.provider_caller.money.scripts import Scripts
from deployments.provider_caller.money.settlement import Entry, Settlement
from deployments.provider_caller.money.state import State
from deployments.provider_caller.money.upkeep import Upkeep
from deployments.snapshots import Snapshot
from kit.errors import PenstockError, UnavailableError
from kit.ids import uuid7
from kit.postgres import Databases
from kit.telemetry import METRICS

__all__ = ["Admission", "Claim", "Lease"]

REFUSED = "penstock_admission_refused_total"
ATTEMPTS = 3
"""How often a call whose counters were missing is tried again once they are there."""


class Admission:
    """Admits the calls of one replica. Belongs to one event loop."""

    def __init__(
        self,
        config: MoneyConfig,
        redis: Redis,
        databases: Databases,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config = config
        self._clock = clock
        self._scripts = Scripts(redis)
        self._asking = Asking(redis, self._scripts.admit)
        self._snapshot = Snapshot(databases, DOMAIN, load_rules, empty=Rules())
        self._counters = Counters(redis, self._scripts, databases)
        self._settlement = Settlement(redis, self._scripts, every=config.settle_every)
        self._upkeep = Upkeep(config, redis, self._scripts, self._counters, self.rules, clock=clock)
        self._local = LocalLimits()
        self._lost_until = 0.0
        self._lost = False

    async def start(self) -> None:
        """Load budgets and limits, and begin to look after the holds. A lost Postgres or Redis hinders nothing."""
        await self._snapshot.start()
        await self._settlement.start()
        await self._upkeep.start()

    async def close(self) -> None:
        """Give back what has been released, and stop."""
        await self._upkeep.close()
        await self._settlement.close()
        await self._snapshot.close()

    def rules(self) -> Rules:
        """Budgets and limits as they are known now."""
        return self._snapshot.value

    async def refresh(self) -> None:
        """Load budgets and limits if they have changed. Raises UnavailableError."""
        await self._snapshot.refresh()

    async def drain(self) -> None:
        """Give back what has been released. Raises RedisError or OSError."""
        await self._settlement.flush()

    def state(self) -> State:
        """For health reports."""
        if self._lost:
            return State(False, "Redis is lost: hard budgets refuse, and each replica counts its limits by itself.")
        return State(True)

    async def admit(self, claim: Claim) -> "Lease":
        """Take from every limit and reserve in every budget, or raise and take nothing.

        Raises RateLimitError, BudgetExceededError, UnprocessableError (unknown price under a hard budget) or
        UnavailableError (hard budget, and Redis or the ledger is lost; or the rules have never been loaded).
        """
        if not self._snapshot.loaded:
            raise refusals.unknown_rules()
        applying = self.rules().applying_to(claim.account)
        try:
            hold, left, local = await self._reserve(claim, applying, claim.cost, claim.tokens)
        except PenstockError as error:
            METRICS.count(REFUSED, reason=error.code.lower())
            raise
        return Lease(self, claim, applying, hold, left, local=local)

    async def reserve(self, claim: Claim, cost: int | None) -> Hold:
        """One more hold for a call that was let in. Raises as `admit` does for budgets."""
        budgets = self.rules().applying_to(claim.account).budgets
        try:
            hold, _, _ = await self._reserve(claim, Applying(budgets), cost, 0)
        except PenstockError as error:
            METRICS.count(REFUSED, reason=error.code.lower())
            raise
        return hold

    def give_back(self, tenant: str, entries: Sequence[Entry], local: Applying | None, *, urgent: bool) -> None:
        """Queue what a lease leaves over; urgent: others may be refused for the want of it."""
        if local is not None:
            self._local.release(local.slots)
        if entries:
            self._settlement.put(tenant, entries, urgent=urgent)

    async def _reserve(
        self, claim: Claim, applying: Applying, cost: int | None, tokens: int
    ) -> tuple[Hold, Sequence[Left], bool]:
        """A hold, what is left of the limits, and whether this process's own limits were used."""
        now = self._clock()
        if not (applying.budgets or applying.rates or applying.slots):
            return Hold(uuid7(), claim.account, now, cost), (), False
        if cost is None and (hard := first_hard(applying.budgets)):
            raise refusals.unpriced(hard, claim.provider, claim.model, claim.surcharge)
        for _ in range(ATTEMPTS):
            if time.monotonic() < self._lost_until:
                break
            hold = self._new_hold(claim, applying, cost, tokens)
            try:
                answer = await self._ask(hold, applying, tokens)
            except (RedisError, OSError):
                self._redis_lost()
                self._forget(hold, applying)
                break
            except asyncio.CancelledError:
                self._forget(hold, applying)
                raise
            self._redis_answers()
            if answer[0] == b"unknown":
                await self._upkeep.make_counters(claim.account.tenant, applying.budgets, now)
                continue
            return hold, self._admitted(hold, applying, answer), False
        else:
            raise UnavailableError("The counters of your budgets are being made. Try again.", retry_after=1)
        if hard := first_hard(applying.budgets):
            raise refusals.unchecked(hard)
        left = self._local.take(applying, tokens)
        return Hold(uuid7(), claim.account, now, cost, tokens=tokens), left, True

    def _new_hold(self, claim: Claim, applying: Applying, cost: int | None, tokens: int) -> Hold:
        now = self._clock()
        counters = tuple(budget.counter(now) for budget in applying.budgets)
        lasts = claim.timeout + self._config.reserve_margin
        hold = Hold(uuid7(), claim.account, now, cost, counters, tokens, expires=int((now.timestamp() + lasts) * 1000))
        if counters:
            hold.payload = payload_of(cost, counters, _facts(claim, hold))
        return hold

    async def _ask(self, hold: Hold, applying: Applying, tokens: int) -> list[bytes]:
        tenant = hold.account.tenant
        names = [keys.holds(tenant), keys.deadlines(tenant), *hold.counters]
        names += [rate.key for rate in applying.rates] + [slot.key for slot in applying.slots]
        arguments: list[Any] = [
            int(hold.at.timestamp() * 1000),
            hold.key,
            hold.expires,
            hold.amount or 0,
            hold.payload,
            hold.id.hex,
            len(applying.budgets),
            len(applying.rates),
            len(applying.slots),
        ]
        for budget in applying.budgets:
            arguments += (budget.amount, "hard" if budget.hard else "alert")
        for rule in applying.rates:
            cost = tokens if rule.unit == "tokens" else 1
            arguments += (cost, rule.rate.interval_ms, rule.rate.allowed_burst)
        arguments += [slot.cap for slot in applying.slots]
        async with asyncio.timeout(self._config.redis_timeout):
            answer: list[bytes] = await self._asking.ask(names, arguments)
        return answer

    def _admitted(self, hold: Hold, applying: Applying, answer: list[bytes]) -> list[Left]:
        """What is left of the limits. Raises what the script refused by."""
        match answer[0]:
            case b"budget":
                budget = applying.budgets[int(answer[1]) - 1]
                raise refusals.exceeded(budget, hold.at, int(answer[2]), int(answer[3]), hold.amount or 0)
            case b"rate":
                raise refusals.rate_reached(applying.rates[int(answer[1]) - 1], float(answer[2]) / 1000)
            case b"slot":
                raise refusals.slots_taken(applying.slots[int(answer[1]) - 1])
        if hold.counters:
            self._upkeep.watch(hold)
        if answer[1]:
            missing = [applying.budgets[int(number) - 1] for number in answer[1].split(b",")]
            self._upkeep.make_counters_soon(hold.account.tenant, missing, hold.at)
        numbers = [int(number) for number in answer[2:]]
        return [
            Left(rule.unit, rule.rate.amount, remaining, reset / 1000)
            for rule, remaining, reset in zip(applying.rates, numbers[::2], numbers[1::2], strict=True)
        ]

    def _forget(self, hold: Hold, applying: Applying) -> None:
        """Nobody knows whether Redis has taken it: give it back when Redis answers again."""
        slots = tuple(slot.key for slot in applying.slots)
        if hold.counters or slots:
            entry = Entry("free", hold.key, lease=hold.id.hex, slots=slots, closes=hold)
            self._settlement.put(hold.account.tenant, [entry])

    def _redis_lost(self) -> None:
        self._lost = True
        self._lost_until = time.monotonic() + self._config.redis_pause

    def _redis_answers(self) -> None:
        if self._lost:
            self._lost = False
            self._local.clear()


def first_hard(budgets: Sequence[Budget]) -> Budget | None:
    """The first hard budget."""
    return next((budget for budget in budgets if budget.hard), None)


def _facts(claim: Claim, hold: Hold) -> dict[str, Any]:
    """What the ledger row of a lost attempt is made of."""
    return {
        "request_id": claim.request_id,
        "user": claim.account.user_id,
        "key": claim.account.key_id,
        "agent": claim.account.agent_id,
        "provider": claim.provider,
        "model": claim.model,
        "tokens": claim.tokens,
        "at": hold.at.timestamp(),
    }
