"""Makes a budget's counter from the ledger: where it is missing, and where it is compared.

Exact while calls go on: under a lock of the tenant nothing is settled, so that an attempt is either settled (in the
counter, no open hold) or not (its hold is open). What is spent is then the sum of the ledger without the rows whose
holds are open. Settlements wait for the length of one query; holds stay reserved meanwhile.
"""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from redis.asyncio import Redis

from deployments.provider_caller.money import keys
from deployments.provider_caller.money.rules import Budget, Scope
from deployments.provider_caller.money.scripts import Scripts
from deployments.retriever.store import tenant_database
from kit.errors import UnavailableError
from kit.postgres import Connection, Databases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOCK_MS = 10_000
QUERY_SECONDS = 8.0
"""Less than LOCK_MS: who is slower has lost the lock."""
KEPT = timedelta(days=2)
"""How long a counter outlives its period: late settlements."""
LOCK_PAUSE = 0.02
LOCK_WAIT = 10.0

SUBJECT_COLUMNS: dict[Scope, str] = {"user": "user_id", "key": "key_id", "agent": "agent_id"}

_CHARGE = "coalesce(sum(coalesce(cost_nano, reserved_nano, 0)), 0)::bigint"
_PERIOD = "started_at >= $1 AND started_at < $2"


class Counters:
    """Counters of all tenants. Its methods raise UnavailableError for Postgres, RedisError or OSError for Redis."""

    def __init__(self, redis: Redis, scripts: Scripts, databases: Databases) -> None:
        self._redis: Any = redis  # whose own types are unions of all that any protocol may answer
        self._scripts = scripts
        self._databases = databases

    async def rebuild(self, tenant: str, budgets: Sequence[Budget], moment: datetime) -> dict[UUID, int]:
        """Put the counters of one tenant's budgets right; by how many nano-dollars each `spent` was off, for those
        that had one."""
        drift = {}
        token = secrets.token_hex(8)
        async with self._locked(tenant, token), asyncio.timeout(QUERY_SECONDS):
            sums = await self._sums(tenant, budgets, moment)
            for budget, spent in zip(budgets, sums, strict=True):
                expiry = budget.period_at(moment).end + KEPT
                before = await self._scripts.seed(
                    keys=[keys.rebuilding(tenant), keys.holds(tenant), budget.counter(moment)],
                    args=[token, spent, int(expiry.timestamp() * 1000)],
                )
                if before is None:
                    raise UnavailableError("Summing up the budgets took too long.", retry_after=1)
                if before[0]:
                    drift[budget.id] = spent - int(before[0])
        return drift

    async def missing(self, budgets: Sequence[Budget], moment: datetime) -> list[Budget]:
        """Those that have no counter."""
        pipe = self._redis.pipeline(transaction=False)
        for budget in budgets:
            pipe.hexists(budget.counter(moment), "spent")
        found = await pipe.execute()
        return [budget for budget, known in zip(budgets, found, strict=True) if not known]

    async def _sums(self, tenant: str, budgets: Sequence[Budget], moment: datetime) -> list[int]:
        database = self._databases.pool(tenant_database(tenant))
        async with (
            database.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            # The order matters: the first query fixes what the ledger is, and what is committed by then and not
            # settled has an open hold after it, since nothing is settled under the lock.
            sums = [await charged(connection, budget, moment) for budget in budgets]
            open_holds = [UUID(id.decode()) for id in await self._redis.hkeys(keys.holds(tenant))]
            if open_holds:
                for index, budget in enumerate(budgets):
                    sums[index] -= await charged(connection, budget, moment, open_holds)
        return sums

    @asynccontextmanager
    async def _locked(self, tenant: str, token: str) -> "AsyncIterator[None]":
        name = keys.rebuilding(tenant)
        try:
            async with asyncio.timeout(LOCK_WAIT):
                while not await self._redis.set(name, token, nx=True, px=LOCK_MS):
                    await asyncio.sleep(LOCK_PAUSE)
            yield
        except TimeoutError:
            raise UnavailableError("The budgets are being summed up.", retry_after=1) from None
        finally:
            await self._scripts.unlock(keys=[name], args=[token])


async def charged(connection: Connection, budget: Budget, moment: datetime, ids: Sequence[UUID] | None = None) -> int:
    """Nano-dollars that the ledger charges to a budget in its period; of these rows only, if given."""
    period = budget.period_at(moment)
    arguments: list[Any] = [period.start, period.end]
    where = _PERIOD
    column = SUBJECT_COLUMNS.get(budget.scope)
    if column is not None:
        arguments.append(budget.subject)
        where += f" AND {column} = ${len(arguments)}"
    if ids is not None:
        arguments.append(list(ids))
        where += f" AND id = ANY(${len(arguments)}::uuid[])"
    # Only constants of this module are put into the statement.
    total: int = await connection.fetchval(f"SELECT {_CHARGE} FROM usage_ledger WHERE {where}", *arguments)  # noqa: S608
    return total
