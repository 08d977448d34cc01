"""The usage ledger of one replica: rows are queued, written every few milliseconds, then settled.

While Postgres is lost, rows wait in memory and, so that a replica that dies loses none, in Redis (the spool). They are
written once, whoever does it: a row's id is its primary key, and it is settled by its hold, which closes once.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deployments.provider_caller.money import keys
from deployments.provider_caller.money.config import MoneyConfig
from deployments.provider_caller.money.counters import Counters
from deployments.provider_caller.money.hold import Hold
from deployments.provider_caller.money.reconcile import Reconciler
from deployments.provider_caller.money.rows import LedgerRow, Waiting, pack, waiting
from deployments.provider_caller.money.rules import Rules
from deployments.provider_caller.money.scripts import Scripts
from deployments.provider_caller.money.settlement import Settlement
from deployments.provider_caller.money.settling import entry_of
from deployments.provider_caller.money.state import State
from deployments.provider_caller.money.store import DROPPED, NEVER, Fate, LedgerStore
from kit.errors import UnavailableError
from kit.postgres import Databases
from kit.tasks import stop
from kit.telemetry import METRICS

ROWS = "penstock_ledger_rows_total"
RETRY_EVERY = 1.0
"""Seconds between two tries while Postgres is lost."""

_log = structlog.get_logger("penstock.money")


class Ledger:
    """Records attempts. Belongs to one event loop."""

    def __init__(
        self,
        config: MoneyConfig,
        redis: Redis,
        databases: Databases,
        *,
        rules: Callable[[], Rules],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """rules: `Admission.rules`."""
        self._config = config
        self._redis = redis
        self._rules = rules
        self._store = LedgerStore(databases)
        scripts = Scripts(redis)
        self._settlement = Settlement(redis, scripts, every=config.settle_every)
        counters = Counters(redis, scripts, databases)
        self.reconciler = Reconciler(
            config, redis, scripts, counters, self._store, self._settlement, rules, clock=clock
        )
        self._queue: deque[Waiting] = deque()
        self._late: dict[str, list[Waiting]] = {}
        """Rows that could not be written at the first try, by tenant."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._flushing = asyncio.Lock()

    async def start(self) -> None:
        """Begin to write and to reconcile."""
        await self._settlement.start()
        await self.reconciler.start()
        self._task = asyncio.create_task(self._run(), name="write the usage ledger")

    async def close(self) -> None:
        """Write and settle everything as far as Postgres and Redis answer; what is left lies in the spool."""
        await self.reconciler.close()
        if self._task is not None:
            await stop(self._task)
        await self.drain()
        await self._settlement.close()

    def record(self, row: LedgerRow, hold: Hold | None) -> None:
        """Queue one attempt's row. Never blocks, never raises. The hold becomes the ledger's."""
        if hold is not None:
            hold.recorded = True
        self._queue.append(waiting(row, hold))
        self._wake.set()

    async def drain(self) -> None:
        """Write and settle all that waits now; with Postgres lost, leave it in the spool."""
        await self._flush()
        with contextlib.suppress(RedisError, OSError):
            await self._settlement.flush()

    def state(self) -> State:
        """For health reports."""
        late = sum(len(rows) for rows in self._late.values())
        if late:
            return State(False, f"Postgres is lost: {late} rows of the usage ledger wait to be written.")
        return State(True)

    async def _run(self) -> None:
        while True:
            if not self._queue:
                timeout = RETRY_EVERY if self._late else None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(self._config.settle_every)
            try:
                await self._flush()
            except Exception:
                _log.exception("the usage ledger could not be written")
                await asyncio.sleep(RETRY_EVERY)

    async def _flush(self) -> None:
        async with self._flushing:
            fresh: dict[str, list[Waiting]] = {}
            while self._queue:
                one = self._queue.popleft()
                fresh.setdefault(one.row.tenant, []).append(one)
            # A tenant whose database is slow holds no other one up.
            await asyncio.gather(*(self._write(tenant, fresh.get(tenant, [])) for tenant in {*fresh, *self._late}))

    async def _write(self, tenant: str, rows: list[Waiting]) -> None:
        size = self._config.batch_rows
        try:
            while rows and tenant not in self._late:
                await self._store.append(tenant, rows[:size])
                self._written(tenant, [(row, "new") for row in rows[:size]], late=False)
                del rows[:size]
        except (UnavailableError, *NEVER) as error:
            _log.warning("ledger rows not written", tenant=tenant, rows=len(rows), reason=type(error).__name__)
        finally:
            if rows:
                # They may have been committed nevertheless: from now on they are merged.
                self._late.setdefault(tenant, []).extend(rows)
        await self._write_late(tenant)

    async def _write_late(self, tenant: str) -> None:
        """Write what is late; on failure leave it where it is, with a copy in Redis."""
        while rows := self._late.get(tenant, [])[: self._config.batch_rows]:
            try:
                fates = await self._store.merge(tenant, rows)
            except UnavailableError:
                await self._spool(tenant)
                return
            self._written(tenant, [(row, fates[row.id]) for row in rows], late=True)
            del self._late[tenant][: len(rows)]
            await self._unspool(tenant, rows)
        self._late.pop(tenant, None)

    def _written(self, tenant: str, rows: Sequence[tuple[Waiting, Fate]], *, late: bool) -> None:
        METRICS.count(ROWS, len(rows), tenant=tenant)
        rules = self._rules()
        self._settlement.put(tenant, [entry_of(row, fate, rules, late=late) for row, fate in rows])

    async def _spool(self, tenant: str) -> None:
        """Copy late rows to Redis, and keep no more of them in memory than is allowed."""
        late = self._late[tenant]
        try:
            fresh = [row for row in late if not row.spooled]
            for start in range(0, len(fresh), self._config.batch_rows):
                batch = fresh[start : start + self._config.batch_rows]
                await self._redis.hset(keys.spool(tenant), mapping={row.id.hex: pack(row) for row in batch})
                for row in batch:
                    row.spooled = True
            if fresh:
                await self._redis.sadd(keys.TENANTS, tenant)
        except (RedisError, OSError) as error:
            _log.warning("ledger rows wait in memory only: Redis is lost", reason=type(error).__name__)
        excess = len(late) - self._config.max_waiting_rows
        if excess > 0:
            dropped = sum(not row.spooled for row in late[:excess])
            del late[:excess]
            if dropped:
                METRICS.count(DROPPED, dropped, tenant=tenant)
                _log.error("ledger rows dropped: Postgres and Redis are lost", tenant=tenant, rows=dropped)

    async def _unspool(self, tenant: str, rows: Sequence[Waiting]) -> None:
        names = [row.id.hex for row in rows if row.spooled]
        if names:
            with contextlib.suppress(RedisError, OSError):  # Whoever drains the spool finds them written.
                await self._redis.hdel(keys.spool(tenant), *names)
