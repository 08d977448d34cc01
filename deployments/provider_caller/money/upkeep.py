"""Looks after the counters and open holds of one replica: makes missing counters, and writes holds again that Redis
has lost."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deployments.provider_caller.money import keys, refusals
from deployments.provider_caller.money.config import MoneyConfig
from deployments.provider_caller.money.counters import Counters
from deployments.provider_caller.money.epoch import Epoch
from deployments.provider_caller.money.hold import Hold
from deployments.provider_caller.money.rules import Budget, Rules
from deployments.provider_caller.money.scripts import Scripts
from kit.tasks import stop

LOOK_EVERY = 1.0
"""Seconds. `MoneyConfig.rebuild_pause` must be longer."""
BATCH = 500

_log = structlog.get_logger("penstock.money")


class Upkeep:
    """The background work of an Admission."""

    def __init__(
        self,
        config: MoneyConfig,
        redis: Redis,
        scripts: Scripts,
        counters: Counters,
        rules: Callable[[], Rules],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._redis = redis
        self._scripts = scripts
        self._counters = counters
        self._rules = rules
        self._clock = clock
        self._epoch = Epoch(redis, scripts, pause=config.rebuild_pause, clock=clock)
        self._open: dict[str, Hold] = {}
        self._announced: set[str] = set()
        self._unannounced: set[str] = set()
        self._looking = asyncio.Lock()
        self._making: dict[frozenset[str], asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look once, and go on looking. A lost Redis does not hinder the start."""
        await self._try_look()
        self._task = asyncio.create_task(self._run(), name="look after holds")

    async def close(self) -> None:
        """Stop looking."""
        tasks = [*self._making.values(), *([self._task] if self._task else [])]
        await asyncio.gather(*(stop(task) for task in tasks))

    def watch(self, hold: Hold) -> None:
        """Write this hold again if Redis loses it before it is closed."""
        self._open[hold.key] = hold
        if hold.account.tenant not in self._announced:
            self._unannounced.add(hold.account.tenant)

    async def look(self) -> None:
        """Notice lost data and mend it. Raises RedisError or OSError."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        changed = await self._epoch.look()
        self._open = {key: hold for key, hold in self._open.items() if not hold.closed}
        if changed:
            self._unannounced |= self._announced | {hold.account.tenant for hold in self._open.values()}
            await self._report()
            if self._epoch.began:
                await self._distrust_counters()
        if self._unannounced:
            # For the reconciler, which must find the holds of a replica that died.
            announced = set(self._unannounced)
            await self._redis.sadd(keys.TENANTS, *announced)
            self._unannounced -= announced
            self._announced |= announced

    async def make_counters(self, tenant: str, budgets: Sequence[Budget], moment: datetime) -> None:
        """Make those that are missing; concurrent calls share the work. Raises UnavailableError."""
        await asyncio.shield(self.make_counters_soon(tenant, budgets, moment))

    def make_counters_soon(self, tenant: str, budgets: Sequence[Budget], moment: datetime) -> asyncio.Task[None]:
        """The same in the background."""
        name = frozenset(budget.counter(moment) for budget in budgets)
        task = self._making.get(name)
        if task is None:
            task = asyncio.create_task(self._make(tenant, budgets, moment), name="make budget counters")
            self._making[name] = task
            task.add_done_callback(lambda done: self._made(name, done))
        return task

    def _made(self, name: frozenset[str], task: asyncio.Task[None]) -> None:
        self._making.pop(name, None)
        if not task.cancelled():
            task.exception()  # Whoever waits for it has it; for alerts the next call tries again.

    async def _make(self, tenant: str, budgets: Sequence[Budget], moment: datetime) -> None:
        try:
            await self.look()
            if wait := self._epoch.pause_left():
                error = refusals.unchecked(budgets[0], "Redis has lost its data, and running calls are being counted")
                error.retry_after = wait
                raise error
            missing = await self._counters.missing(budgets, moment)
            if missing:
                await self._counters.rebuild(tenant, missing, moment)
        except (RedisError, OSError) as error:
            raise refusals.unchecked(budgets[0]) from error

    async def _report(self) -> None:
        """Write every open hold again."""
        by_tenant: dict[str, list[Hold]] = {}
        for hold in self._open.values():
            if not hold.closed:
                by_tenant.setdefault(hold.account.tenant, []).append(hold)
        for tenant, holds in by_tenant.items():
            for start in range(0, len(holds), BATCH):
                lines = [
                    value for hold in holds[start : start + BATCH] for value in (hold.key, hold.payload, hold.expires)
                ]
                await self._scripts.report(keys=[keys.holds(tenant), keys.deadlines(tenant)], args=lines)

    async def _distrust_counters(self) -> None:
        """A restarted Redis may lack its last second: what it says was spent is summed up again."""
        now = self._clock()
        names = [b.counter(now) for tenant in self._rules().budgets for b in self._rules().of_tenant(tenant)]
        if names:
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.hdel(name, "spent")
            await pipe.execute()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self._try_look()

    async def _try_look(self) -> None:
        try:
            await self.look()
        except (RedisError, OSError) as error:
            _log.warning("holds not looked after: Redis is lost", reason=type(error).__name__)
