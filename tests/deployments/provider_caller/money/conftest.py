"""A tenant of its own, and replicas that share its Redis and Postgres."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import pytest
from redis.asyncio import Redis

from deployments.protocols import Account
from deployments.provider_caller.money import keys
from deployments.provider_caller.money.admission import Admission, Claim
from deployments.provider_caller.money.config import MoneyConfig
from deployments.provider_caller.money.hold import Hold
from deployments.provider_caller.money.ledger import Ledger
from deployments.provider_caller.money.rows import LedgerRow
from kit.ids import uuid7
from kit.postgres import Databases, database_url
from kit.redis import redis_client
from serve_app.tenants.migrate import create_database, migrate
from serve_app.tenants.repository import TenantRepository

SLUG = "moneytest"


@pytest.fixture(scope="session")
async def tenant(services: Any) -> str:
    """A tenant whose ledger no other test writes."""
    url = database_url(services.database_url, f"penstock_t_{SLUG}")
    databases = Databases(services.database_url, 2)
    async with databases.control.transaction() as connection:
        await TenantRepository(connection).ensure_tenant(SLUG, "Money", f"penstock_t_{SLUG}")
    await databases.close()
    await create_database(url)
    await migrate(url, "tenant")
    return SLUG


class Proxy:
    """A way to a server that can be cut and mended. `url` is the server's, by this way."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._parts = parts
        self._server: Any = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        netloc = self._parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{self._port}"
        return urlunsplit(self._parts._replace(netloc=netloc))

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        self._writers |= {writer, back}
        await asyncio.gather(pump(reader, back), pump(there, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def redis_proxy(services: Any) -> AsyncIterator[Proxy]:
    proxy = Proxy(services.redis_url)
    await proxy.mend()
    yield proxy
    await proxy.cut()


@pytest.fixture
async def postgres_proxy(services: Any) -> AsyncIterator[Proxy]:
    proxy = Proxy(services.database_url)
    await proxy.mend()
    yield proxy
    await proxy.cut()


@dataclass
class Replica:
    """One provider caller's money: an Admission and a Ledger. `kill` forgets what it has in memory."""

    admission: Admission
    ledger: Ledger
    redis: Redis
    databases: Databases
    shared: bool = False
    """The connections are the bench's."""
    killed: bool = False

    async def call(self, claim: Claim, cost: int | None) -> Hold:
        """A whole call: admitted, recorded with this cost, released."""
        lease = await self.admission.admit(claim)
        hold = await lease.hold(claim.cost)
        self.ledger.record(row_of(claim, cost), hold)
        lease.release()
        return hold

    async def settle(self) -> None:
        await self.ledger.drain()
        await self.admission.drain()

    async def close(self) -> None:
        if not self.killed:
            await self.ledger.close()
            await self.admission.close()
        if not self.shared:
            await self.redis.aclose()
            await self.databases.close()

    async def kill(self) -> None:
        """As by SIGKILL: nothing that waits in memory is written or settled."""
        self.killed = True
        await stop(self.ledger._task, self.ledger._settlement._task, self.ledger.reconciler._task)
        await stop(self.admission._settlement._task, self.admission._upkeep._task, self.admission._snapshot._task)


async def stop(*tasks: Any) -> None:
    for task in tasks:
        task.cancel()
        with contextlib.suppress(BaseException):
            await task


@dataclass
class Bench:
    """What a test of money needs. `now` is the replicas' clock."""

    tenant: str
    services: Any
    redis: Redis
    databases: Databases
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    replicas: list[Replica] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    def advance(self, **of: float) -> None:
        self.now += timedelta(**of)

    async def budget(
        self, amount: int, *, mode: str = "hard", scope: str = "tenant", subject: str = "", period: str = "day"
    ) -> UUID:
        id = uuid7()
        await self.databases.control.execute(
            "INSERT INTO budgets (id, tenant_id, scope, subject, amount_nano, period, mode) "
            "SELECT $1, id, $2, $3, $4, $5, $6 FROM tenants WHERE slug = $7",
            *(id, scope, subject or self.tenant, amount, period, mode, self.tenant),
        )
        await self.refresh()
        return id

    async def limit(self, *, scope: str = "tenant", subject: str = "", **of: int) -> None:
        await self.databases.control.execute(
            "INSERT INTO rate_limits (id, tenant_id, scope, subject, requests_per_minute, tokens_per_minute, "
            "concurrency) SELECT $1, id, $2, $3, $4, $5, $6 FROM tenants WHERE slug = $7",
            *(uuid7(), scope, subject or self.tenant, of.get("requests"), of.get("tokens"), of.get("concurrency")),
            self.tenant,
        )
        await self.refresh()

    async def refresh(self) -> None:
        for replica in self.replicas:
            await replica.admission.refresh()

    async def replica(
        self, *, redis_url: str = "", database_url: str = "", shared: bool = False, **config: Any
    ) -> Replica:
        """config: of MoneyConfig; nothing reconciles by itself. shared: over the bench's own connections."""
        of = MoneyConfig(**{"rebuild_pause": 0, "reconcile_every": 3600, "redis_timeout": 20, **config})
        redis, databases = self.redis, self.databases
        if not shared:
            redis = redis_client(redis_url or self.services.redis_url, max_connections=8)
            databases = Databases(database_url or self.services.database_url, 6)
        admission = Admission(of, redis, databases, clock=self.clock)
        ledger = Ledger(of, redis, databases, rules=admission.rules, clock=self.clock)
        await admission.start()
        await ledger.start()
        self.replicas.append(Replica(admission, ledger, redis, databases, shared))
        return self.replicas[-1]

    def claim(self, cost: int | None = 10, *, tokens: int = 100, **account: Any) -> Claim:
        of = Account(self.tenant, **{"user_id": "u1", "key_id": "k1", **account})
        return Claim(of, f"req_{uuid7().hex}", tokens, cost, timeout=30, provider="mock", model="echo")

    async def counter(self, id: UUID, period: str = "day") -> tuple[int | None, int]:
        """Spent and reserved, as Redis has them."""
        name = keys.counter(self.tenant, id, period, self.now)  # type: ignore[arg-type]
        spent, reserved = await self.redis.hmget(name, ["spent", "reserved"])
        return (None if spent is None else int(spent)), int(reserved or 0)

    async def ledger(self, what: str = "coalesce(sum(cost_nano), 0)::bigint") -> Any:
        return await self.databases.pool(f"penstock_t_{self.tenant}").fetchval(f"SELECT {what} FROM usage_ledger")

    async def rows(self) -> list[Any]:
        database = self.databases.pool(f"penstock_t_{self.tenant}")
        return await database.fetch("SELECT * FROM usage_ledger ORDER BY id")

    async def wipe_redis(self) -> None:
        """All data of the tenant's money is gone, and the epoch."""
        await wipe(self.redis, self.tenant)

    async def clean(self) -> None:
        await self.wipe_redis()
        for table in ("budgets", "rate_limits"):
            statement = f"DELETE FROM {table} USING tenants t WHERE t.id = tenant_id AND t.slug = $1"
            await self.databases.control.execute(statement, self.tenant)
        await self.databases.pool(f"penstock_t_{self.tenant}").execute("TRUNCATE usage_ledger")


async def wipe(redis: Redis, tenant: str) -> None:
    names = [name async for name in redis.scan_iter(f"penstock:{{{tenant}}}:*", count=1000)]
    await redis.delete(keys.EPOCH, keys.TENANTS, keys.RECONCILER, *names)


@pytest.fixture
async def bench(services: Any, redis: Redis, tenant: str) -> AsyncIterator[Bench]:
    databases = Databases(services.database_url, 4)
    bench = Bench(tenant, services, redis, databases)
    await bench.clean()
    yield bench
    for replica in bench.replicas:
        await replica.close()
    await bench.clean()
    await databases.close()


def row_of(claim: Claim, cost: int | None, **of: Any) -> LedgerRow:
    values: dict[str, Any] = {
        "tenant": claim.account.tenant,
        "id": uuid7(),
        "request_id": claim.request_id,
        "attempt": 1,
        "started_at": datetime.now(UTC),
        "user_id": claim.account.user_id,
        "key_id": claim.account.key_id,
        "agent_id": claim.account.agent_id,
        "dialect": "openai_chat",
        "provider": "mock",
        "model": "echo",
        "credential": "operator",
        "operation": "chat",
        "reason": "named",
        "experiment": None,
        "arm": None,
        "streamed": False,
        "outcome": "ok",
        "error_code": None,
        "input_tokens": 40,
        "output_tokens": 10,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "estimated": False,
        "cost_nano": cost,
        "latency_ms": 12.5,
        "first_token_ms": None,
    }
    return LedgerRow(**{**values, **of})


RowOf = Callable[..., LedgerRow]


@pytest.fixture
def make_row() -> RowOf:
    return row_of
