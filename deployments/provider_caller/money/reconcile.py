"""Finishes what replicas that died have left, and compares Redis with the ledger.

1. Rows in the spool are written and settled.
2. Holds past their deadline are settled from the ledger where their row exists. Where none does, nobody knows whether
   the provider was asked: a row with the outcome `lost` says so, its cost is unknown, and the budgets are charged what
   was held, so that nothing that may have been charged is forgotten. If the replica was only paused, its own row takes
   the place of the lost one, and the charge is corrected.
3. Every counter is made again from the ledger; what it was off by is counted.

One replica does it at a time. Each step is safe to repeat and to interrupt.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deployments.provider_caller.money import keys
from deployments.provider_caller.money.config import MoneyConfig
from deployments.provider_caller.money.counters import Counters
from deployments.provider_caller.money.hold import read_payload
from deployments.provider_caller.money.rows import Waiting, lost_row, unpack
from deployments.provider_caller.money.rules import Rules
from deployments.provider_caller.money.scripts import Scripts
from deployments.provider_caller.money.settlement import Entry, Settlement
from deployments.provider_caller.money.settling import entry_of
from deployments.provider_caller.money.store import LedgerStore
from kit.errors import UnavailableError
from kit.tasks import stop
from kit.telemetry import METRICS

DRIFT = "penstock_budget_drift_nanodollars_total"
LOST_CALLS = "penstock_lost_calls_total"
BATCH = 500
LOCK_MS = 60_000

_log = structlog.get_logger("penstock.money")


class Reconciler:
    """The reconciliation of one replica."""

    def __init__(
        self,
        config: MoneyConfig,
        redis: Redis,
        scripts: Scripts,
        counters: Counters,
        store: LedgerStore,
        settlement: Settlement,
        rules: Callable[[], Rules],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._redis: Any = redis  # whose own types are unions of all that any protocol may answer
        self._scripts = scripts
        self._counters = counters
        self._store = store
        self._settlement = settlement
        self._rules = rules
        self._clock = clock
        self._audited = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to reconcile from time to time."""
        self._task = asyncio.create_task(self._run(), name="reconcile money")

    async def close(self) -> None:
        """Stop; what is half done is safe."""
        if self._task is not None:
            await stop(self._task)

    async def reconcile(self, *, audit: bool = True) -> bool:
        """Do it now, unless another replica is at it; whether it was done. audit: compare the counters, too.

        Raises UnavailableError, RedisError or OSError.
        """
        token = secrets.token_hex(8)
        if not await self._redis.set(keys.RECONCILER, token, nx=True, px=LOCK_MS):
            return False
        try:
            known = {tenant.decode() for tenant in await self._redis.smembers(keys.TENANTS)}
            for tenant in sorted(known | set(self._rules().budgets)):
                await self._drain_spool(tenant)
                await self._settle_overdue(tenant)
                await self._settlement.flush()
                if audit:
                    await self._audit(tenant)
        finally:
            with contextlib.suppress(RedisError, OSError):
                await self._scripts.unlock(keys=[keys.RECONCILER], args=[token])
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._config.reconcile_every)
            audit = time.monotonic() - self._audited > self._config.audit_every
            try:
                if await self.reconcile(audit=audit) and audit:
                    self._audited = time.monotonic()
            except (UnavailableError, RedisError, OSError) as error:
                _log.warning("money not reconciled", reason=type(error).__name__)

    async def _drain_spool(self, tenant: str) -> None:
        cursor = 0
        while True:
            cursor, found = await self._redis.hscan(keys.spool(tenant), cursor, count=BATCH)
            if found:
                await self._write(tenant, [unpack(packed) for packed in found.values()])
                await self._settlement.flush()
                await self._redis.hdel(keys.spool(tenant), *found)
            if not cursor:
                return

    async def _write(self, tenant: str, rows: list[Waiting]) -> None:
        fates = await self._store.merge(tenant, rows)
        rules = self._rules()
        self._settlement.put(tenant, [entry_of(row, fates[row.id], rules, late=True) for row in rows])

    async def _settle_overdue(self, tenant: str) -> None:
        """Holds that nobody has closed in time: their replica has died, or could not reach Redis."""
        while True:
            now = int(self._clock().timestamp() * 1000)
            names = await self._redis.zrangebyscore(keys.deadlines(tenant), "-inf", now, start=0, num=BATCH)
            if not names:
                return
            payloads = await self._redis.hmget(keys.holds(tenant), names)
            gone = [name for name, payload in zip(names, payloads, strict=True) if payload is None]
            if gone:
                await self._redis.zrem(keys.deadlines(tenant), *gone)
            overdue = [
                lost_row(tenant, UUID(name.decode()), amount, claim)
                for name, payload in zip(names, payloads, strict=True)
                if payload is not None
                for amount, _, claim in [read_payload(payload)]
            ]
            if overdue:
                await self._settle_lost(tenant, overdue)
                await self._settlement.flush()

    async def _settle_lost(self, tenant: str, overdue: list[Waiting]) -> None:
        charges = await self._store.charges(tenant, [one.id for one in overdue])
        lost = [one for one in overdue if one.id not in charges]
        fates = await self._store.merge(tenant, lost) if lost else {}
        charges |= {one.id: one.charge for one in lost if fates[one.id] == "new"}
        count = sum(fate == "new" for fate in fates.values())
        if count:
            METRICS.count(LOST_CALLS, count, tenant=tenant)
            _log.warning("calls of a lost replica written to the ledger", tenant=tenant, calls=count)
        rules = self._rules()
        entries = []
        for one in overdue:
            applying = rules.applying_to(one.row.account)
            budgets = tuple((budget.counter(one.charged_at), budget) for budget in applying.budgets)
            if one.id in charges:
                entries.append(Entry("settle", one.id.hex, charges[one.id], budgets))
            elif fates[one.id] == "refused":
                entries.append(Entry("free", one.id.hex))
        self._settlement.put(tenant, entries)

    async def _audit(self, tenant: str) -> None:
        now = self._clock()
        budgets = self._rules().of_tenant(tenant)
        if not budgets:
            return
        # One that is missing is made by the next call that needs it, once every replica has reported its holds.
        missing = {budget.id for budget in await self._counters.missing(budgets, now)}
        present = [budget for budget in budgets if budget.id not in missing]
        if not present:
            return
        for id, drift in (await self._counters.rebuild(tenant, present, now)).items():
            if drift:
                METRICS.count(DRIFT, abs(drift), tenant=tenant)
                _log.warning("budget counter mended", tenant=tenant, budget=str(id), nano_dollars=drift)
