"""Gives back what was held and charges what was used, in batches of one tenant each.

Entries wait in memory until Redis has taken them. A process that dies with entries loses nothing: its holds stay open
in Redis, and the reconciler settles them from the ledger once they have expired.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deployments.provider_caller.money import keys
from deployments.provider_caller.money.hold import Hold
from deployments.provider_caller.money.rules import Budget, RateRule
from deployments.provider_caller.money.scripts import Scripts
from kit.tasks import stop
from kit.telemetry import METRICS

ALERTS = "penstock_budget_alerts_total"
BATCH = 500
"""Entries in one script call: a few milliseconds of Redis."""
MAX_WAITING = 200_000
"""Entries kept while Redis is lost; older ones are left to the reconciler."""
BUSY_PAUSE = 0.01

_THRESHOLDS = {1: "80%", 2: "100%"}
_log = structlog.get_logger("penstock.money")


@dataclass(slots=True, eq=False)
class Entry:
    """One line of a settlement.

    kind: `add` charges in any case, `settle` only if the hold is open, `free` charges nothing. charge: nano-dollars,
    for each of `budgets` (with the key of its counter). tokens: to add to what `rates` have counted, may be negative.
    slots: keys where `lease` has a slot.
    """

    kind: Literal["add", "settle", "free"]
    hold: str = ""
    charge: int = 0
    budgets: tuple[tuple[str, Budget], ...] = ()
    tokens: int = 0
    rates: tuple[RateRule, ...] = ()
    lease: str = ""
    slots: tuple[str, ...] = ()
    closes: Hold | None = None


class Settlement:
    """A queue of entries of all tenants, and the loop that empties it."""

    def __init__(self, redis: Redis, scripts: Scripts, *, every: float) -> None:
        """every: seconds between two batches."""
        self._redis = redis
        self._scripts = scripts
        self._every = every
        self._waiting: dict[str, deque[Entry]] = {}
        self._unsure: dict[str, tuple[str, list[Entry]]] = {}
        """By tenant: a batch that may have been settled, and its mark."""
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()

    async def start(self) -> None:
        """Begin to empty the queue."""
        self._task = asyncio.create_task(self._run(), name="settle money")

    async def close(self) -> None:
        """Settle what waits, as far as Redis answers, and stop."""
        if self._task is not None:
            await stop(self._task)
        with contextlib.suppress(RedisError, OSError):
            await self.flush()

    def put(self, tenant: str, entries: Iterable[Entry], *, urgent: bool = False) -> None:
        """Queue entries of a tenant. Does not block. urgent: somebody may be waiting for them, so no batch gathers."""
        queue = self._waiting.setdefault(tenant, deque())
        queue.extend(entries)
        while len(queue) > MAX_WAITING:
            queue.popleft()
        if urgent:
            self._urgent.set()
        self._wake.set()

    async def flush(self) -> None:
        """Settle all that waits now. Raises RedisError or OSError when Redis is lost; nothing is lost with it."""
        async with self._flushing:
            for tenant in {*self._unsure, *self._waiting}:
                while (marked := self._next_batch(tenant)) is not None:
                    self._unsure[tenant] = marked
                    await self._settle(tenant, *marked)
                    del self._unsure[tenant]

    def _next_batch(self, tenant: str) -> tuple[str, list[Entry]] | None:
        """The batch that may have been settled, as it was; else the next one."""
        if tenant in self._unsure:
            return self._unsure[tenant]
        queue = self._waiting.get(tenant)
        if not queue:
            self._waiting.pop(tenant, None)
            return None
        return secrets.token_hex(8), [queue.popleft() for _ in range(min(BATCH, len(queue)))]

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._urgent.wait()
            self._urgent.clear()
            try:
                await self.flush()
            except (RedisError, OSError) as error:
                _log.warning("money not settled: Redis is lost", reason=type(error).__name__)
                await asyncio.sleep(1)
                self._wake.set()

    async def _settle(self, tenant: str, mark: str, batch: list[Entry]) -> None:
        names, arguments, budgets = _encode(tenant, mark, batch)
        # False: counters are being made again from the ledger. Holds stay open meanwhile, so nothing is lost.
        while (crossed := await self._scripts.settle(keys=names, args=arguments)) is None:
            await asyncio.sleep(BUSY_PAUSE)
        for entry in batch:
            if entry.closes is not None:
                entry.closes.closed = True
        for number, threshold in zip(crossed[::2], crossed[1::2], strict=True):
            _tell(budgets[int(number) - 1], _THRESHOLDS[int(threshold)])


def _tell(budget: Budget, threshold: str) -> None:
    METRICS.count(ALERTS, tenant=budget.tenant, scope=budget.scope, threshold=threshold)
    _log.warning(
        "budget reached a threshold",
        tenant=budget.tenant,
        budget=str(budget.id),
        scope=budget.scope,
        subject=budget.subject,
        period=budget.period,
        threshold=threshold,
    )


def _encode(tenant: str, mark: str, batch: list[Entry]) -> tuple[list[str], list[Any], list[Budget]]:
    """Keys and arguments of settle.lua, and the budgets by their numbers."""
    counters: dict[str, int] = {}
    budgets: list[Budget] = []
    rates: dict[str, int] = {}
    intervals: list[float] = []
    slots: dict[str, int] = {}
    lines: list[Any] = []
    for entry in batch:
        lines += (entry.hold, entry.kind, entry.charge, len(entry.budgets))
        for key, budget in entry.budgets:
            if key not in counters:
                counters[key] = len(counters) + 1
                budgets.append(budget)
            lines.append(counters[key])
        lines += (entry.tokens, len(entry.rates))
        for rate in entry.rates:
            if rate.key not in rates:
                rates[rate.key] = len(rates) + 1
                intervals.append(rate.rate.interval_ms)
            lines.append(rates[rate.key])
        lines += (entry.lease, len(entry.slots))
        lines += [slots.setdefault(key, len(slots) + 1) for key in entry.slots]
    names = [keys.holds(tenant), keys.deadlines(tenant), keys.rebuilding(tenant), keys.settled(tenant, mark)]
    names += [*counters, *rates, *slots]
    thresholds = [amount for budget in budgets for amount in (budget.warning_at, budget.amount)]
    return names, [len(counters), len(rates), *thresholds, *intervals, *lines], budgets
