"""Whether the platform's parts answer, measured now or a few seconds ago."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from urllib.parse import urlsplit

from redis.asyncio import Redis

from deployments.protocols import CallerHealth, ProviderCaller
from deployments.provider_caller.catalogue import LOCAL, Catalogue
from kit.errors import PenstockError, UnavailableError
from kit.redis import redis_answers
from serve_app.context.service import ContextService
from serve_app.health.repository import HealthRepository
from serve_app.health.schemas import Component, DetailedHealth, Health, Status

CHECK_TIMEOUT = 2.0
FRESH_FOR = 2.0
"""Seconds that a report is given again: anybody may ask for it."""

PROVIDER_FRESH_FOR = 30.0
"""Seconds between two connections to a provider."""

VERSION = version("penstock")


class HealthService:
    """Looks at every component at once. One instance per replica."""

    def __init__(
        self,
        repository: HealthRepository,
        redis: "Redis",
        catalogue: Catalogue,
        context: ContextService,
        provider_caller: ProviderCaller,
    ) -> None:
        self._provider_caller = provider_caller
        self._repository = repository
        self._redis = redis
        self._context = context
        self._providers = {
            state.id: _Provider(catalogue, state.id, len(state.models))
            for state in catalogue.states()
            if state.available
        }
        self._started = time.monotonic()
        self._reached_database = False
        self._report: tuple[float, dict[str, Component]] | None = None
        self._lock = asyncio.Lock()

    async def ready(self) -> bool:
        """Whether this replica can take requests: it has reached the database once. Losing it later degrades only."""
        if not self._reached_database:
            await self._components()
        return self._reached_database

    async def short(self) -> Health:
        """The overall state."""
        return Health(status=overall(await self._components()), version=VERSION, timestamp=_now())

    async def detailed(self) -> DetailedHealth:
        """The state of everything."""
        components = await self._components()
        return DetailedHealth(
            status=overall(components),
            version=VERSION,
            timestamp=_now(),
            uptime_seconds=round(time.monotonic() - self._started, 1),
            components=components,
        )

    async def _components(self) -> dict[str, Component]:
        async with self._lock:
            if self._report is None or time.monotonic() - self._report[0] > FRESH_FOR:
                self._report = (time.monotonic(), await self._check())
            return self._report[1]

    async def _check(self) -> dict[str, Component]:
        checks: dict[str, Callable[[], Awaitable[Component]]] = {
            "database": self._database,
            "redis": self._check_redis,
            "vector_store": self._vector_store,
        }
        checks |= {id: provider.check for id, provider in self._providers.items()}
        measured, money = await asyncio.gather(
            asyncio.gather(*(_measured(check) for check in checks.values())), self._money()
        )
        components = dict(zip(checks, measured, strict=True))
        for id, trouble in money.providers.items():
            if id in components and components[id].status == "healthy":
                components[id].status, components[id].message = "degraded", trouble
        return {
            **components,
            LOCAL: Component(status="healthy", models=1),
            "limits": _in_full(money.limits),
            "ledger": _in_full(money.ledger),
        }

    async def _money(self) -> CallerHealth:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                return await self._provider_caller.health()
        except (PenstockError, TimeoutError):
            return CallerHealth(limits=_UNKNOWN, ledger=_UNKNOWN)

    async def _database(self) -> Component:
        await self._repository.ping()
        self._reached_database = True
        return Component(status="healthy")

    async def _check_redis(self) -> Component:
        if not await redis_answers(self._redis):
            raise UnavailableError("Redis cannot be reached now.")
        return Component(status="healthy")

    async def _vector_store(self) -> Component:
        documents = chunks = 0
        for tenant in await self._repository.tenants():
            for summary in await self._context.contents(tenant):
                documents += summary.documents
                chunks += summary.chunks
        return Component(status="healthy", documents=documents, chunks=chunks)


_UNKNOWN = "The provider caller does not answer now."


def _in_full(trouble: str | None) -> Component:
    return Component(status="healthy") if trouble is None else Component(status="degraded", message=trouble)


class _Provider:
    """Whether a provider's server accepts connections; asks it nothing."""

    def __init__(self, catalogue: Catalogue, id: str, models: int) -> None:
        self._catalogue = catalogue
        self._id = id
        self._models = models
        self._checked: float | None = None
        self._reachable = False

    async def check(self) -> Component:
        """Connect, or say again what was found less than PROVIDER_FRESH_FOR ago. Raises UnavailableError."""
        if self._checked is None or time.monotonic() - self._checked > PROVIDER_FRESH_FOR:
            self._reachable = await self._connects()
            self._checked = time.monotonic()
        if not self._reachable:
            raise UnavailableError("It cannot be reached now.")
        return Component(status="healthy", models=self._models)

    async def _connects(self) -> bool:
        endpoint = self._catalogue.endpoint(self._id)
        if endpoint is None:
            return False
        url = urlsplit(endpoint.base_url)
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                _, writer = await asyncio.open_connection(url.hostname, port)
        except OSError:
            return False
        writer.close()
        return True


async def _measured(check: Callable[[], Awaitable[Component]]) -> Component:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            component = await check()
    except PenstockError as error:
        return Component(status="unhealthy", message=error.message)
    except TimeoutError:
        return Component(status="unhealthy", message=f"No answer within {CHECK_TIMEOUT:g} s.")
    component.latency_ms = round((time.perf_counter() - started) * 1000, 2)
    return component


def overall(components: dict[str, Component]) -> Status:
    """Without the database the platform is unhealthy; with anything else missing it does less, and says so."""
    if components["database"].status != "healthy":
        return "unhealthy"
    return "healthy" if all(c.status == "healthy" for c in components.values()) else "degraded"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
