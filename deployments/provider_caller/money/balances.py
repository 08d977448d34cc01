"""What budgets have left, for people: from Redis, or from the ledger where Redis does not know."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deployments.provider_caller.money.counters import charged
from deployments.provider_caller.money.rules import Budget
from deployments.retriever.store import tenant_database
from kit.postgres import Databases


@dataclass(frozen=True, slots=True)
class Balance:
    """Nano-dollars in the present period. reserved: for calls that run; None while Redis is lost."""

    spent: int
    reserved: int | None


class Balances:
    """Reads; changes nothing."""

    def __init__(self, redis: Redis, databases: Databases, *, timeout: float) -> None:
        """timeout: seconds to wait for Redis."""
        self._redis: Any = redis  # whose own types are unions of all that any protocol may answer
        self._databases = databases
        self._timeout = timeout

    async def read(self, tenant: str, budgets: Sequence[Budget], moment: datetime) -> list[Balance]:
        """Of one tenant's budgets, in order. Raises UnavailableError where the ledger is needed and lost."""
        if not budgets:
            return []
        counted: list[Any]
        try:
            async with asyncio.timeout(self._timeout):
                counted = await self._counted(budgets, moment)
        except (RedisError, OSError):
            counted = [(None, None)] * len(budgets)
        else:
            counted = [(spent, reserved or 0) for spent, reserved in counted]
        found = []
        for budget, (spent, reserved) in zip(budgets, counted, strict=True):
            amount = int(spent) if spent is not None else await self._charged(tenant, budget, moment)
            found.append(Balance(amount, None if reserved is None else int(reserved)))
        return found

    async def _counted(self, budgets: Sequence[Budget], moment: datetime) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for budget in budgets:
            pipe.hmget(budget.counter(moment), "spent", "reserved")
        found: list[Any] = await pipe.execute()
        return found

    async def _charged(self, tenant: str, budget: Budget, moment: datetime) -> int:
        async with self._databases.pool(tenant_database(tenant)).acquire() as connection:
            return await charged(connection, budget, moment)
